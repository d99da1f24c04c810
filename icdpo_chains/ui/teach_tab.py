"""The tab Teach: opinions of the candidates become demonstrations; asking again shows the difference."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

import gradio as gr

from icdpo_chains.errors import ICDPOError
from icdpo_chains.foundation.printable import one_line, rounded
from icdpo_chains.server.errors import APIError
from icdpo_chains.ui import markup
from icdpo_chains.ui.asking import Stopped, answering
from icdpo_chains.ui.backend import Backend
from icdpo_chains.ui.demonstration_actions import undo
from icdpo_chains.ui.error_text import error_text
from icdpo_chains.ui.session import Exchange, Session
from icdpo_chains.ui.teaching import Opinion, teach

__all__ = ["teach_tab"]

_LINE = 400
"""The maximum number of characters of a candidate in the list."""

# The answer reaches the tab a moment after the tab opens: by then, the visitor may have begun to write.
_OPENED = '(better) => { window.icdpoBetter = better ?? ""; }'
_UNLESS_WRITTEN = '(better, answer) => (better ?? "") === window.icdpoBetter ? answer : better'

Updates = dict[Any, Any]


def teach_tab(backend: Backend, session: gr.State, tab: gr.Tab) -> None:
    """Builds the tab inside the page's `gr.Blocks`; see `chat_tab` for the arguments."""
    asked = gr.HTML(elem_id="teach-question", js_on_load=None)
    listing = gr.Radio([], label="Candidates of the last answer, best first", elem_id="teach-candidates")
    with gr.Row():
        good = gr.Button("Good", min_width=90, elem_id="good")
        bad = gr.Button("Bad", min_width=90, elem_id="bad")
        instead = gr.Button("This one instead", min_width=150, elem_id="instead")
    better = gr.Textbox(
        label="A better answer: edit the candidate, or write your own",
        lines=3,
        max_lines=12,
        max_length=backend.limits.max_characters,
        elem_id="better",
    )
    with gr.Row():
        save = gr.Button("Save the better answer", min_width=180, elem_id="save")
        undoing = gr.Button("Undo", min_width=90, interactive=False, elem_id="undo")
        again = gr.Button("Ask again", variant="primary", min_width=120, elem_id="ask-again")
        stop = gr.Button("Stop", min_width=90, interactive=False, elem_id="stop-again")
    status = gr.HTML(elem_id="teach-status", js_on_load=None)
    difference = gr.HTML(elem_id="difference", js_on_load=None)
    answer = gr.Textbox(visible=False)
    outputs = [asked, listing, answer, undoing, again, stop, status, difference]

    def undo_button(current: Session) -> Updates:
        last = current.changes.last
        return {undoing: gr.Button(f"Undo the {last}" if last else "Undo", interactive=last is not None)}

    def state(current: Session) -> Updates:
        exchange = current.last
        if exchange is None:
            return {
                asked: markup.notice("Ask something in the tab Chat first."),
                listing: gr.Radio(choices=[], value=None),
                answer: "",
                difference: "",
                **undo_button(current),
            }
        return {
            asked: markup.card("Question", exchange.question),
            listing: gr.Radio(choices=_choices(exchange), value=0),
            answer: exchange.result.text,
            **undo_button(current),
        }

    def entered(current: Session) -> Updates:
        return {**state(current), status: "", difference: ""}

    def selected(place: int | None, current: Session) -> str:
        candidates = current.last.result.candidates if current.last is not None else ()
        return candidates[place].text if place is not None and 0 <= place < len(candidates) else ""

    def judged(opinion: Opinion, place: int | None, text: str, current: Session) -> Updates:
        try:
            told = teach(backend, current, opinion, -1 if place is None else place, text)
        except (ICDPOError, TypeError, ValueError) as error:
            return {status: markup.notice(error_text(error), error=True)}
        return {status: markup.notice(told), **undo_button(current)}

    def taken_back(current: Session) -> Updates:
        try:
            with backend.writing() as store:
                told = undo(store, current.changes)
        except ICDPOError as error:
            return {status: markup.notice(error_text(error), error=True)}
        return {status: markup.notice(told), **undo_button(current)}

    async def ask_again(current: Session) -> AsyncGenerator[Updates, None]:
        idle = {again: gr.Button(interactive=True), stop: gr.Button(interactive=False)}
        try:
            before = current.exchange()
            yield {again: gr.Button(interactive=False), stop: gr.Button(interactive=True), difference: ""}
            asking = answering(backend, current, before.prompt, bare=False, seed=before.result.seed)
            async with aclosing(asking) as events:
                async for event in events:
                    if isinstance(event, str):
                        yield {status: markup.notice(event)}
                    elif isinstance(event, Exchange):
                        now = event.result
                        current.answered(event)
        except Stopped:
            yield {**idle, status: markup.notice("Stopped.")}
        except (ICDPOError, APIError, TypeError, ValueError) as error:
            yield {**idle, status: markup.notice(error_text(error), error=True)}
        else:
            compared = await asyncio.to_thread(markup.comparison, before.result, now)
            yield {**idle, **state(current), status: markup.totals(now), difference: compared}

    async def stopped(current: Session) -> None:
        current.stop()

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    filling: dict[str, Any] = {
        "fn": None,
        "inputs": [better, answer],
        "outputs": better,
        "js": _UNLESS_WRITTEN,
    }
    tab.select(None, better, js=_OPENED)
    tab.select(entered, session, outputs, **private).then(**filling)
    listing.input(selected, [listing, session], better, **private)
    opinions: tuple[tuple[gr.Button, Opinion], ...] = (
        (good, "good"),
        (bad, "bad"),
        (instead, "instead"),
        (save, "edit"),
    )
    for button, opinion in opinions:
        button.click(partial(judged, opinion), [listing, better, session], outputs, **private)
    undoing.click(taken_back, session, outputs, **private)
    again.click(None, better, js=_OPENED)
    again.click(ask_again, session, outputs, concurrency_limit=None, **private).then(**filling)
    stop.click(stopped, session, None, concurrency_limit=None, **private)


def _choices(exchange: Exchange) -> list[tuple[str, int]]:
    choices = []
    for place, candidate in enumerate(exchange.result.candidates):
        text = one_line(candidate.text, _LINE)
        choices.append((f"{place + 1} (score {rounded(candidate.score, 2)}): {text}", place))
    return choices
