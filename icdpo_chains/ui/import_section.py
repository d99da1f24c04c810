"""The part of the tab Demonstrations that imports a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from icdpo_chains.demonstrations.store import AddReport
from icdpo_chains.errors import ICDPOError
from icdpo_chains.foundation.printable import printable
from icdpo_chains.ui.backend import Backend
from icdpo_chains.ui.error_text import error_text
from icdpo_chains.ui.import_preview import (
    COLUMNS,
    RATING,
    VERDICTS,
    FileOptions,
    import_file,
    preview_file,
)
from icdpo_chains.ui.session import Session

__all__ = ["import_section"]


def import_section(backend: Backend, session: Any) -> Any:
    """Builds the section; returns the event after an import.

    Args:
        backend: the page's common parts.
        session: the `gr.State` of the visitor's `Session`, which remembers the import to undo it.
    """

    def preview(
        path: str | None, columns: str | None, rating: str | None, verdict: str | None, all_pairs: bool
    ) -> dict[Any, Any]:
        if path is None:
            return {outcome: "", store: gr.Button(interactive=False)}
        if not Path(path).exists():  # imported and deleted meanwhile: the outcome is the import's
            return {store: gr.Button(interactive=False)}
        try:
            shown = preview_file(
                Path(path), FileOptions(columns or "", rating or "", all_pairs, verdict or "")
            )
        except (ICDPOError, OSError, ValueError) as error:
            return {outcome: printable(error_text(error)), store: gr.Button(interactive=False)}
        return {outcome: shown.text, store: gr.Button(interactive=shown.usable)}

    def import_(
        path: str | None,
        columns: str | None,
        rating: str | None,
        verdict: str | None,
        all_pairs: bool,
        current: Session,
        progress: Any = gr.Progress(),  # noqa: B008  # how Gradio hands a progress bar in
    ) -> dict[Any, Any]:
        if path is None:
            return {outcome: "Choose a file first"}

        def count(report: AddReport) -> None:
            progress((report.total, None), desc="Importing", unit="demonstrations")

        try:
            with backend.writing() as opened:
                options = FileOptions(columns or "", rating or "", all_pairs, verdict or "")
                done = import_file(Path(path), options, opened, current.changes, count)
        except (ICDPOError, OSError, ValueError) as error:
            return {outcome: printable(error_text(error))}
        Path(path).unlink(missing_ok=True)  # the upload: its demonstrations are in the store
        return {
            outcome: done.text,
            file: None,
            store: gr.Button(interactive=False),
        }

    with gr.Row():
        with gr.Column(min_width=320):
            file = gr.File(label="A file of preferences", height=150, elem_id="import-file")
            columns = gr.Textbox(
                label=COLUMNS,
                placeholder="prompt=question,chosen=good,rejected=bad",
                info="Only for a file whose columns are of no known shape.",
            )
            rating = gr.Textbox(
                label=RATING,
                placeholder="4",
                info="Only for ratings; empty follows their range: 4 of up to 5, 7 of up to 10.",
            )
            verdict = gr.Textbox(
                label=VERDICTS,
                placeholder="0,1",
                info="Only for verdicts of unclear meaning: that for the first answer, that for the second.",
            )
            all_pairs = gr.Checkbox(False, label="All pairs of a ranked list, not only best and worst")
        with gr.Column(min_width=320):
            outcome = gr.Textbox(
                label="What the file contains",
                placeholder="Choose a file: nothing is stored before you have seen its demonstrations.",
                lines=9,
                max_lines=20,
                interactive=False,
                elem_id="import-outcome",
            )
            store = gr.Button("Import", variant="primary", interactive=False, elem_id="import")
    options = [file, columns, rating, verdict, all_pairs]
    private = {"api_visibility": "private"}
    # Not `change`: it follows an import, which empties the file, and would empty the outcome.
    gr.on(
        [file.upload, file.clear, columns.change, rating.change, verdict.change, all_pairs.input],
        preview,
        options,
        [outcome, store],
        trigger_mode="always_last",  # while a preview is read, only the last of several keystrokes waits
        **private,
    )
    return store.click(import_, [*options, session], [outcome, file, store], **private)
