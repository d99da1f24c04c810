"""The tab Chat."""

from __future__ import annotations

import gradio as gr

from icdpo_chains.errors import ICDPOError
from icdpo_chains.ui.backend import Backend

__all__ = ["chat_tab"]


def chat_tab(backend: Backend) -> None:
    """Builds the tab inside the page's `gr.Blocks`."""

    async def answer(question: str) -> str:
        try:
            return (await backend.icdpo.agenerate(question)).text
        except ICDPOError as error:
            return str(error)

    question = gr.Textbox(label="Question", elem_id="question")
    ask = gr.Button("Ask", variant="primary", elem_id="ask")
    best = gr.Textbox(label="Answer", elem_id="answer", interactive=False)
    gr.on([ask.click, question.submit], answer, question, best, api_visibility="private")
