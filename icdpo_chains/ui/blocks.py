"""The page, put together from its tabs."""

from __future__ import annotations

import gradio as gr

from icdpo_chains.ui.backend import Backend
from icdpo_chains.ui.chat_tab import chat_tab
from icdpo_chains.ui.demonstrations_tab import demonstrations_tab
from icdpo_chains.ui.session import Session
from icdpo_chains.ui.settings_tab import settings_tab
from icdpo_chains.ui.teach_tab import teach_tab

__all__ = ["build_blocks"]

_HOURLY = (3600, 3600)
"""Each hour, uploaded files that are older than an hour are deleted, in seconds."""


def build_blocks(backend: Backend) -> gr.Blocks:
    """Builds the page; see `create_ui`."""
    with gr.Blocks(
        title="icdpo-chains", analytics_enabled=False, fill_width=True, delete_cache=_HOURLY
    ) as blocks:
        session = gr.State(Session())
        with gr.Tab("Chat") as tab:
            chat_tab(backend, session, tab)
        with gr.Tab("Teach") as tab:
            teach_tab(backend, session, tab)
        with gr.Tab("Demonstrations") as tab:
            demonstrations_tab(backend, session, tab)
        with gr.Tab("Settings") as tab:
            settings_tab(backend, session, tab)
    return blocks
