"""The page, put together from its tabs."""

from __future__ import annotations

import gradio as gr

from icdpo_chains.ui.backend import Backend
from icdpo_chains.ui.chat_tab import chat_tab
from icdpo_chains.ui.demonstrations_tab import demonstrations_tab

__all__ = ["build_blocks"]


def build_blocks(backend: Backend) -> gr.Blocks:
    """Builds the page; see `create_ui`."""
    with gr.Blocks(title="icdpo-chains", analytics_enabled=False) as blocks:
        with gr.Tab("Chat"):
            chat_tab(backend)
        with gr.Tab("Demonstrations") as tab:
            demonstrations_tab(backend, tab)
    return blocks
