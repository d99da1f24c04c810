"""The tab Demonstrations."""

from __future__ import annotations

import gradio as gr

from icdpo_chains.ui.backend import Backend

__all__ = ["demonstrations_tab"]

_SHOWN = 20


def demonstrations_tab(backend: Backend) -> None:
    """Builds the tab inside the page's `gr.Blocks`."""

    def rows() -> list[list[str]]:
        items = backend.store.list(limit=_SHOWN)
        return [[item.messages[-1].content, item.chosen or "", item.rejected or ""] for item in items]

    gr.Dataframe(
        rows,
        headers=["Prompt", "Chosen", "Rejected"],
        datatype="str",
        interactive=False,
        wrap=True,
        label="Demonstrations",
        elem_id="demonstrations",
    )
