"""The tab Settings: a visitor's own settings, and the same settings as code."""

from __future__ import annotations

from typing import Any

import gradio as gr

from icdpo_chains.errors import ICDPOError
from icdpo_chains.foundation.printable import printable
from icdpo_chains.packaged_models.catalog import default_model
from icdpo_chains.ui import markup
from icdpo_chains.ui.backend import Backend
from icdpo_chains.ui.error_text import error_text
from icdpo_chains.ui.form import FIELDS, FIXED, Field, changes_of, values_of
from icdpo_chains.ui.session import Session
from icdpo_chains.ui.snippets import KINDS, snippet

__all__ = ["settings_tab"]

_QUESTION = "I am nervous about my first day at a new job. Any advice?"
_COLUMNS = 4


def settings_tab(backend: Backend, session: gr.State, tab: gr.Tab) -> None:
    """Builds the tab inside the page's `gr.Blocks`; see `chat_tab` for the arguments."""
    gr.HTML(_fixed(backend), elem_id="fixed-settings", js_on_load=None)
    inputs = []
    for begin in range(0, len(FIELDS), _COLUMNS):
        with gr.Row():
            for item, value in list(zip(FIELDS, values_of(backend.settings), strict=True))[
                begin : begin + _COLUMNS
            ]:
                inputs.append(_input(item, value))
    with gr.Row():
        use = gr.Button("Use these settings", variant="primary", min_width=180, elem_id="use-settings")
        reset = gr.Button("Back to the server's settings", min_width=180, elem_id="reset-settings")
    status = gr.HTML(elem_id="settings-status", js_on_load=None)
    kind = gr.Radio(list(KINDS), value=KINDS[0], label="The settings as code", elem_id="snippet-kind")
    code = gr.Code(label="Copy", language="python", interactive=False, elem_id="snippet")

    def coded(kind_: str, current: Session) -> Any:
        question = current.last.question if current.last is not None else _QUESTION
        text = snippet(kind_, backend.configured(current.settings), question)
        return gr.Code(text, language="shell" if kind_ == "Command line" else "python")

    def used(kind_: str, current: Session, *values: Any) -> tuple[str, Any]:
        try:
            current.settings = changes_of(backend, values)
        except (ICDPOError, TypeError, ValueError) as error:
            return markup.notice(error_text(error), error=True), gr.skip()
        changed = ", ".join(current.settings) or "none"
        return markup.notice(f"Used from the next question on. Changed: {changed}."), coded(kind_, current)

    def taken_back(kind_: str, current: Session) -> list[Any]:
        current.settings = {}
        told = markup.notice("The server's settings are used.")
        return [told, coded(kind_, current), *map(_shown, values_of(backend.settings))]

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    use.click(used, [kind, session, *inputs], [status, code], **private)
    reset.click(taken_back, [kind, session], [status, code, *inputs], **private)
    kind.change(coded, [kind, session], code, **private)
    tab.select(coded, [kind, session], code, **private)


def _input(item: Field, value: Any) -> Any:
    shared = {"label": item.label, "info": item.info, "elem_id": f"setting-{item.name}", "min_width": 200}
    if item.kind == "choice":
        return gr.Dropdown(list(item.choices), value=value, **shared)
    if item.optional:  # an empty gr.Number is a zero
        return gr.Textbox(str(_shown(value)), max_length=40, **shared)
    return gr.Number(value, **shared)  # a precision would round what `changes_of` refuses


def _shown(value: Any) -> Any:
    return "" if value is None else value


def _fixed(backend: Backend) -> str:
    settings = backend.settings.model_copy(
        update={"model": backend.settings.model or (None if backend.settings.vllm else default_model())}
    )
    parts = [f"{name}: {value}" for name in FIXED if (value := getattr(settings, name)) is not None]
    told = printable("; ".join(parts))
    return markup.notice(f"Set when the server was started: {told}.")
