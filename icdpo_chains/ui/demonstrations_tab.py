"""The tab Demonstrations: the list, a form to add and to edit, undo, statistics, and the import of a file."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import gradio as gr

from icdpo_chains.demonstrations.statistics import store_statistics
from icdpo_chains.errors import ICDPOError
from icdpo_chains.foundation.printable import printable
from icdpo_chains.ui.backend import Backend
from icdpo_chains.ui.demonstration_actions import loaded, remove, save, undo
from icdpo_chains.ui.demonstration_form import DemonstrationForm
from icdpo_chains.ui.demonstration_list import page_of
from icdpo_chains.ui.error_text import error_text
from icdpo_chains.ui.import_section import import_section
from icdpo_chains.ui.session import Session

__all__ = ["demonstrations_tab"]

_KINDS = [("One question", "question"), ("Messages as JSON", "messages")]
_HIDDEN_CHARACTERS = (
    "A text has control characters, which a form shows as nothing or in another order. They stay as long as "
    "you don't edit them"
)

_SHOW_FORM = """() => {
    document.getElementById("demonstration-prompt").scrollIntoView({block: "nearest", behavior: "smooth"});
}"""

Updates = dict[Any, Any]


def _text(given: str | None) -> str:
    return given or ""


def demonstrations_tab(backend: Backend, session: Any, tab: Any) -> None:
    """Builds the tab inside the page's `gr.Blocks`; see `chat_tab` for the arguments."""

    def guarded(work: Callable[..., Updates]) -> Callable[..., Updates]:
        """Shows an error as the status; everything else stays as it is on the page."""

        @functools.wraps(work)
        def guarding(*inputs: Any) -> Updates:
            try:
                return work(*inputs)
            except (ICDPOError, OSError, ValueError) as error:
                return {status: printable(error_text(error))}

        return guarding

    def page(query: str, number: int, id_: str | None, current: Session) -> Updates:
        shown = page_of(backend.store, query or "", number)
        last = current.changes.last
        return {
            listing: gr.Radio(choices=shown.choices, value=id_ if id_ in shown.ids else None),
            caption: shown.caption,
            at: shown.number,
            back: gr.Button(interactive=shown.number > 1),
            forth: gr.Button(interactive=shown.number < shown.count),
            undoing: gr.Button(f"Undo the {last}" if last else "Undo", interactive=last is not None),
        }

    def filled(form: DemonstrationForm, id_: str | None) -> Updates:
        return {
            kind: form.kind,
            prompt: form.prompt,
            chosen: form.chosen,
            rejected: form.rejected,
            metadata: form.metadata,
            edited: id_,
            heading: f"**Demonstration {id_[:12]}**" if id_ else "**New demonstration**",
            removing: gr.Button(interactive=id_ is not None),
        }

    def search(query: str, id_: str | None, current: Session) -> Updates:
        return {**page(query, 1, id_, current), status: ""}

    def select(id_: str) -> Updates:
        form = DemonstrationForm.of(loaded(backend.store, id_))
        return {**filled(form, id_), status: _HIDDEN_CHARACTERS if form.invisible else ""}

    def clear() -> Updates:
        return {**filled(DemonstrationForm(), None), listing: gr.Radio(value=None), status: ""}

    def save_(query: str, number: int, id_: str | None, current: Session, *texts: str | None) -> Updates:
        # A text that was never touched may come as None.
        form = DemonstrationForm("messages" if texts[0] == "messages" else "question", *map(_text, texts[1:]))
        with backend.writing() as store:
            saved = save(store, current.changes, id_, form)
        item = saved.demonstration
        return {
            **filled(DemonstrationForm.of(item), item.id),
            **page(query, number, item.id, current),
            status: saved.message,
        }

    def remove_(query: str, number: int, id_: str | None, current: Session) -> Updates:
        if id_ is None:
            return {status: "Select a demonstration first"}
        with backend.writing() as store:
            message = remove(store, current.changes, id_)
        empty = filled(DemonstrationForm(), None)
        return {**empty, **page(query, number, None, current), status: message}

    def undo_(query: str, number: int, id_: str | None, current: Session) -> Updates:
        with backend.writing() as store:
            message = undo(store, current.changes)
        return {**page(query, number, id_, current), status: message}

    def count() -> str:
        try:
            return printable("\n".join(store_statistics(backend.store).lines()))
        except ICDPOError as error:
            return printable(error_text(error))

    edited, at = gr.State(None), gr.State(1)
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            with gr.Row(equal_height=True):
                query = gr.Textbox(
                    show_label=False,
                    placeholder="Search by meaning: a question like the ones to find",
                    container=False,
                    scale=4,
                    min_width=180,
                    elem_id="demonstrations-query",
                )
                searching = gr.Button("Search", size="sm", scale=1, min_width=80)
            listing = gr.Radio([], show_label=False, elem_id="demonstrations-list")
            with gr.Row(equal_height=True):
                back = gr.Button("Previous", size="sm", min_width=80, interactive=False)
                forth = gr.Button("Next", size="sm", min_width=80, interactive=False)
            caption = gr.Textbox(
                show_label=False, container=False, interactive=False, elem_id="demonstrations-caption"
            )
        with gr.Column(scale=2, min_width=320):
            heading = gr.Markdown("**New demonstration**")
            prompt = gr.Textbox(label="Prompt", lines=3, max_lines=12, elem_id="demonstration-prompt")
            chosen = gr.Textbox(label="Chosen answer", lines=3, max_lines=12, elem_id="demonstration-chosen")
            rejected = gr.Textbox(
                label="Rejected answer", lines=3, max_lines=12, elem_id="demonstration-rejected"
            )
            with gr.Accordion("Conversations and metadata", open=False):
                kind = gr.Radio(_KINDS, value="question", label="The prompt is")
                metadata = gr.Textbox(
                    label="Metadata", placeholder='{"source": "..."}', lines=1, max_lines=12
                )
            with gr.Row():
                saving = gr.Button("Save", variant="primary", min_width=80, elem_id="demonstration-save")
                clearing = gr.Button("New", min_width=80)
                removing = gr.Button("Remove", variant="stop", min_width=80, interactive=False)
            undoing = gr.Button("Undo", size="sm", interactive=False, elem_id="demonstrations-undo")
            status = gr.Textbox(
                show_label=False, container=False, interactive=False, elem_id="demonstrations-status"
            )
    with gr.Accordion("Import a file", open=False):
        imported = import_section(backend, session)
    with gr.Accordion("Statistics", open=False):
        counted = gr.Textbox(
            show_label=False, container=False, lines=4, interactive=False, elem_id="demonstrations-statistics"
        )
        counting = gr.Button("Count", size="sm")

    form = [kind, prompt, chosen, rejected, metadata]
    of_page = [listing, caption, at, back, forth, undoing]
    of_form = [*form, edited, heading, removing]
    everything = [*of_page, *of_form, status]
    where = [query, at, edited, session]
    options: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

    def turned(step: int) -> Callable[..., Updates]:
        return guarded(lambda query, number, *rest: page(query, number + step, *rest))

    gr.on([searching.click, query.submit], guarded(search), [query, edited, session], everything, **options)
    back.click(turned(-1), where, everything, **options)
    forth.click(turned(1), where, everything, **options)
    # On a narrow screen, the form is below the list.
    listing.input(guarded(select), listing, everything, **options).then(None, js=_SHOW_FORM)
    clearing.click(clear, None, everything, **options)
    saving.click(guarded(save_), [*where, *form], everything, **options)
    removing.click(guarded(remove_), where, everything, **options)
    undoing.click(guarded(undo_), where, everything, **options)
    imported.then(guarded(page), where, everything, **options)
    counting.click(count, None, counted, **options)
    tab.select(guarded(page), where, everything, **options)
