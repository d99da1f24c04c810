"""The tab Chat: a conversation, and beside it all candidates of the last answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import gradio as gr

from icdpo_chains.errors import ICDPOError
from icdpo_chains.messages import Message
from icdpo_chains.server.errors import APIError
from icdpo_chains.ui import markup
from icdpo_chains.ui.asking import AnswerSoFar, Stopped, answering
from icdpo_chains.ui.backend import Backend
from icdpo_chains.ui.error_text import error_text
from icdpo_chains.ui.session import NEW_CHAT, Session
from icdpo_chains.ui.teaching import thumb

__all__ = ["chat_tab"]

_EXAMPLES = (
    "I am nervous about my first day at a new job. Any advice?",
    "How do I boil an egg?",
    "My bicycle chain keeps falling off. What can I do?",
)

# A question that was not answered returns to its field, in which the visitor may have begun the next one.
_RETURNED = """(question, returned) => (question ?? "").includes(returned ?? "")
    ? question : [returned, question].filter(Boolean).join("\\n")"""

Updates = dict[Any, Any]


def chat_tab(backend: Backend, session: gr.State, tab: gr.Tab) -> None:
    """Builds the tab inside the page's `gr.Blocks`.

    Args:
        backend: What all visitors of the page share.
        session: The visitor's `Session`.
        tab: The tab; it shows the present state whenever it is selected.
    """
    tokenizer = backend.icdpo.policy.tokenizer
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            conversation = gr.Chatbot(
                label="Conversation",
                height=420,
                render_markdown=False,
                sanitize_html=True,
                latex_delimiters=[],
                allow_tags=False,
                line_breaks=True,
                buttons=[],  # they would copy the escapes
                placeholder="Ask something. The answer is the best of several candidates; in the tab "
                "Teach, you say which answer would have been better, and the next answers follow.",
                elem_id="conversation",
            )
            question = gr.Textbox(
                label="Question",
                placeholder="Shift+Enter asks",
                lines=2,
                max_lines=8,
                max_length=backend.limits.max_characters,
                elem_id="question",
            )
            with gr.Row():
                ask = gr.Button("Ask", variant="primary", min_width=90, elem_id="ask")
                stop = gr.Button("Stop", min_width=90, interactive=False, elem_id="stop")
                again = gr.Button(NEW_CHAT, min_width=110, elem_id="new-conversation")
            # Below the buttons: on a telephone, the candidates are out of sight.
            status = gr.HTML(elem_id="status", js_on_load=None)
            bare = gr.Checkbox(label="Also answer without demonstrations", value=False, elem_id="bare")
            gr.Examples([[example] for example in _EXAMPLES], [question], label="Examples")
        with gr.Column(scale=3, min_width=320):
            without = gr.HTML(elem_id="without", js_on_load=None)
            with gr.Accordion("Candidates", open=True):
                candidates = gr.HTML(elem_id="candidates", js_on_load=None)
            with gr.Accordion("Demonstrations that the model was shown", open=False):
                shown = gr.HTML(elem_id="shown", js_on_load=None)
    returned = gr.Textbox(visible=False)
    outputs = [conversation, question, returned, status, without, candidates, shown, ask, stop]

    def state(current: Session) -> Updates:
        """Returns everything that depends on the last answer."""
        exchange = current.last
        if exchange is None:
            empty = dict.fromkeys((candidates, shown, without), "")
            return {**empty, status: "", conversation: _messages(current.turns)}
        pair = ""
        if exchange.bare is not None:
            cards = (
                markup.answer_card("Without demonstrations", exchange.bare),
                markup.answer_card("With demonstrations", exchange.result.best),
            )
            pair = f'<div class="icdpo-pair">{"".join(cards)}</div>'
        return {
            conversation: _messages(current.turns),
            candidates: markup.candidates_list(exchange.result, tokenizer),
            shown: markup.demonstrations_list(exchange.result.demonstrations),
            without: pair,
            status: markup.totals(exchange.result),
        }

    async def answer(text: str, also_bare: bool, current: Session) -> AsyncGenerator[Updates, None]:
        idle = {ask: gr.Button(interactive=True), stop: gr.Button(interactive=False)}
        chat = current.chats
        try:
            prompt = current.asked(text)
            yield {
                question: "",
                returned: "",
                conversation: _messages(prompt),
                ask: gr.Button(interactive=False),
                stop: gr.Button(interactive=True),
            }
            async with aclosing(answering(backend, current, prompt, bare=also_bare)) as events:
                async for event in events:
                    if isinstance(event, str):
                        yield {status: markup.notice(event)}
                    elif isinstance(event, AnswerSoFar):
                        growing = Message("assistant", event.text)
                        yield {conversation: _messages((*prompt, growing))}
                    else:
                        current.answered(event)
        except Stopped:
            if current.chats != chat:
                yield {**idle, **state(current)}
                return
            told = markup.notice("Stopped. The question is in its field again.")
            yield {**idle, returned: text, conversation: _messages(current.turns), status: told}
        except (ICDPOError, APIError, TypeError, ValueError) as error:
            told = markup.notice(error_text(error), error=True)
            yield {**idle, returned: text, conversation: _messages(current.turns), status: told}
        else:
            yield {**idle, **await asyncio.to_thread(state, current)}

    async def stopped(current: Session) -> None:
        current.stop()

    async def begin_again(current: Session) -> Updates:
        current.begin_again()
        return {**state(current), question: ""}

    def entered(current: Session) -> Updates:
        # While a question is answered, what the tab shows is newer than the last answer.
        return state(current) if current.running is None else {status: gr.skip()}

    def liked(current: Session, data: gr.LikeData) -> str:
        try:
            return markup.notice(thumb(backend, current, data.index, bool(data.liked)))
        except (ICDPOError, TypeError, ValueError) as error:
            return markup.notice(error_text(error), error=True)

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    gr.on(
        [ask.click, question.submit],
        answer,
        [question, bare, session],
        outputs,
        concurrency_limit=None,
        **private,
    ).then(None, [question, returned], question, js=_RETURNED)
    stop.click(stopped, session, None, concurrency_limit=None, **private)
    again.click(begin_again, session, outputs, **private)
    conversation.clear(begin_again, session, outputs, **private)
    conversation.like(liked, session, status, **private)
    tab.select(entered, session, outputs, **private)


def _messages(turns: Sequence[Message]) -> list[dict[str, str]]:
    return [
        # The chatbot takes its texts for HTML, and would load an image of one, even without Markdown.
        {"role": turn.role, "content": markup.escaped(turn.content)}
        for turn in turns
        if turn.role in ("user", "assistant")
    ]
