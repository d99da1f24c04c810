"""The page, put together from its tabs."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.processing_utils import client_utils

from icdpo_chains.ui.backend import Backend
from icdpo_chains.ui.chat_tab import chat_tab
from icdpo_chains.ui.demonstrations_tab import demonstrations_tab
from icdpo_chains.ui.session import Session
from icdpo_chains.ui.settings_tab import settings_tab
from icdpo_chains.ui.teach_tab import teach_tab

__all__ = ["build_blocks"]

_HOURLY = (3600, 3600)
"""Each hour, uploaded files that are older than an hour are deleted, in seconds."""


class _PageBlocks(gr.Blocks):  # type: ignore[misc]  # mypy runs without gradio
    """Blocks that take files only from uploads: Gradio would fetch a URL that stands in place of a file."""

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *rest: Any, **options: Any) -> Any:
        """Converts the inputs of a request; refuses a URL in place of a file."""
        client_utils.traverse(inputs, _check_upload, client_utils.is_file_obj_with_meta)
        return await super().preprocess_data(block_fn, inputs, *rest, **options)


def _check_upload(file: dict[str, Any]) -> None:
    if client_utils.is_http_url_like(file["path"]):
        told = "the page reads only uploaded files: download the file, and upload it"
        raise gr.Error(told, print_exception=False)


def build_blocks(backend: Backend) -> gr.Blocks:
    """Builds the page; see `create_ui`."""
    with _PageBlocks(
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
