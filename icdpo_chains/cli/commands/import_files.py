"""`icdpo import`: add preference files to the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icdpo_chains.cli import options
from icdpo_chains.cli.command import command
from icdpo_chains.cli.console import console, error_line, write_json
from icdpo_chains.foundation.printable import printable

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.file_import import FileImport
    from icdpo_chains.demonstrations.store import AddReport

__all__ = ["register"]

_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Adds the subcommand."""
    command(app, "import")(import_files)


def import_files(
    files: Annotated[
        list[str],
        typer.Argument(
            help="JSON lines, JSON, CSV, Parquet or Arrow, compressed or zipped; directories, patterns, "
            "'-' for standard input, or a data set of the Hugging Face hub (org/name).",
        ),
    ],
    store: options.Store = None,
    columns: Annotated[
        str | None,
        typer.Option(help="The columns by their meaning: prompt=question,chosen=good,rejected=bad."),
    ] = None,
    all_pairs: Annotated[
        bool, typer.Option("--all-pairs", help="All pairs of a ranked list, not only the best and the worst.")
    ] = False,
    threshold: Annotated[
        float | None, typer.Option(help="The least rating of a good answer; lower ones are bad.")
    ] = None,
    verdict: Annotated[
        str | None,
        typer.Option(help="The verdicts for the first and the second of two answers, such as 0,1 or A,B."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Store nothing: show the shape, the counts and the first one.")
    ] = False,
    as_json: options.AsJson = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help=f"List all refused rows, not only {_SHOWN}.")
    ] = False,
) -> None:
    """Add demonstrations from preference files to the store.

    The columns determine the shape (docs/guides/preference_files.md). Demonstrations that the store already
    contains are not added twice. Unusable rows are refused and listed; a file of an unknown shape is refused
    once, and the others are read. The exit code is 1 if a file has no usable row.
    """
    imports = _opened(files, columns, all_pairs, threshold, verdict, paired=dry_run)
    try:
        if dry_run:
            for item in imports:
                item.preview()
        elif any(item.failure is None for item in imports):
            _store(imports, store)
    finally:
        # Also after an error or Ctrl-C: the demonstrations already written stay, so report them.
        _report(imports, dry_run=dry_run, as_json=as_json, verbose=verbose)
    for item in imports:
        if item.failure is not None:
            error_line(item.failure)
    unusable = [item.name for item in imports if item.empty and item.failure is None]
    if unusable:
        error_line(f"{', '.join(unusable)}: no row could be used")
    if unusable or any(item.failure is not None for item in imports):
        raise typer.Exit(1)


def _opened(
    files: list[str],
    columns: str | None,
    all_pairs: bool,
    threshold: float | None,
    verdict: str | None,
    *,
    paired: bool,
) -> list[FileImport]:
    """Checks all names before the first write: a misspelt name must not leave half of them imported."""
    from icdpo_chains.demonstrations.file_import import FileImport, parse_columns, parse_verdict

    with _hint("--columns"):
        by_meaning = None if columns is None else parse_columns(columns)
    with _hint("--verdict"):
        by_word = None if verdict is None else parse_verdict(verdict)
    return [
        FileImport.opened(
            name,
            columns=by_meaning,
            all_pairs=all_pairs,
            threshold=threshold,
            verdict=by_word,
            pair_thumbs=paired,
        )
        for name in files
    ]


@contextmanager
def _hint(option: str) -> Iterator[None]:
    from icdpo_chains.errors import InvalidInputError

    try:
        yield
    except InvalidInputError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _store(imports: list[FileImport], store: str | None) -> None:
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    speed = "{task.completed} demonstrations, {task.fields[rate]:.0f} a second"
    columns = (SpinnerColumn(), TextColumn(speed), TimeElapsedColumn())
    with (
        options.open_store(store, read_only=False) as opened,
        Progress(*columns, console=console(stderr=True), transient=True) as progress,
    ):
        for item in imports:
            task = progress.add_task(item.name, total=None, rate=0.0)

            def count(report: AddReport, task: Any = task) -> None:
                elapsed = progress.tasks[-1].elapsed or 0.0
                progress.update(task, completed=report.total, rate=report.total / max(elapsed, 0.001))

            item.store(opened, count)
            progress.remove_task(task)


def _report(imports: list[FileImport], *, dry_run: bool, as_json: bool, verbose: bool) -> None:
    refused = [row for item in imports for row in item.refused]
    if as_json:
        write_json(
            {
                "files": [item.to_dict(previewed=dry_run) for item in imports],
                "refused": [{"file": row.path, "line": row.line, "reason": row.reason} for row in refused],
            }
        )
        return
    out = console()
    for item in imports:
        for line in item.lines(previewed=dry_run):
            out.print(printable(line), soft_wrap=True)
    for row in refused if verbose else refused[:_SHOWN]:
        out.print(f"  refused {printable(str(row))}", soft_wrap=True)
    if not verbose and len(refused) > _SHOWN:
        out.print(f"  and {len(refused) - _SHOWN} more (-v lists them)")
