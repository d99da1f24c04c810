"""`icdpo import`: add preference files to the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icdpo_chains.cli import options
from icdpo_chains.cli.command import command
from icdpo_chains.cli.console import console, error_line, write_json
from icdpo_chains.printable import printable

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.demonstration import Demonstration
    from icdpo_chains.demonstrations.files import ReadReport, RefusedRow
    from icdpo_chains.demonstrations.store import AddReport

__all__ = ["register"]

_SHOWN = 10
_WIDTH = 300


def register(app: typer.Typer) -> None:
    """Adds the subcommand."""
    command(app, "import")(import_files)


@dataclass
class _Import:
    """One name on the command line, and its outcome."""

    name: str
    demonstrations: Iterator[Demonstration]
    shapes: ReadReport
    refused: list[RefusedRow]
    report: AddReport
    failure: str | None = None
    first: Demonstration | None = None
    kinds: dict[str, int] = field(default_factory=lambda: {"pairs": 0, "ups": 0, "downs": 0})

    def consume(self) -> None:
        """Reads everything without storing it."""
        for item in self.demonstrations:
            self.first = self.first or item
            self.kinds["pairs" if item.is_pair else "ups" if item.chosen is not None else "downs"] += 1

    @property
    def empty(self) -> bool:
        """Whether no row could be used."""
        return not self.report.total and not any(self.kinds.values())


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
    holds are not added twice. Unusable rows are refused and listed; a file of an unknown shape is refused
    once, and the others are read. The exit code is 1 if a file holds no usable row.
    """
    imports = _opened(files, _columns(columns), all_pairs, threshold, paired=dry_run)
    try:
        if dry_run:
            for item in imports:
                _guarded(item, item.consume)
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


def _columns(given: str | None) -> dict[str, str] | None:
    if given is None:
        return None
    parts = [part.partition("=") for part in given.split(",")]
    if not all(name.strip() and column.strip() for name, _, column in parts):
        raise typer.BadParameter(
            f"{given!r} is not of the form prompt=question,chosen=good,rejected=bad", param_hint="--columns"
        )
    return {name.strip(): column.strip() for name, _, column in parts}


def _opened(
    files: list[str],
    columns: dict[str, str] | None,
    all_pairs: bool,
    threshold: float | None,
    *,
    paired: bool,
) -> list[_Import]:
    """Checks all names before the first write: a misspelt name must not leave half of them imported."""
    from icdpo_chains.demonstrations.files import ReadReport, read_demonstrations
    from icdpo_chains.demonstrations.store import AddReport
    from icdpo_chains.errors import UnknownFormatError

    imports = []
    for name in files:
        refused: list[RefusedRow] = []
        shapes = ReadReport()
        failure = None
        demonstrations: Iterator[Demonstration] = iter(())
        try:
            demonstrations = read_demonstrations(
                name,
                on_refused=refused.append,
                columns=columns,
                all_pairs=all_pairs,
                threshold=threshold,
                pair_thumbs=paired,
                report=shapes,
            )
        except UnknownFormatError as error:
            failure = str(error)
        imports.append(_Import(name, demonstrations, shapes, refused, AddReport(), failure))
    return imports


def _store(imports: list[_Import], store: str | None) -> None:
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    speed = "{task.completed} demonstrations, {task.fields[rate]:.0f} a second"
    columns = (SpinnerColumn(), TextColumn(speed), TimeElapsedColumn())
    with (
        options.open_store(store, read_only=False) as opened,
        Progress(*columns, console=console(stderr=True), transient=True) as progress,
    ):
        for item in imports:
            task = progress.add_task(item.name, total=None, rate=0.0)

            def count(report: AddReport, item: _Import = item, task: Any = task) -> None:
                item.report = report
                elapsed = progress.tasks[-1].elapsed or 0.0
                progress.update(task, completed=report.total, rate=report.total / max(elapsed, 0.001))

            def add(item: _Import = item) -> None:
                item.report = opened.add(item.demonstrations, on_batch=count)

            _guarded(item, add)
            progress.remove_task(task)


def _guarded(item: _Import, work: Any) -> None:
    """Reads one file; a file of an unknown shape does not stop the others."""
    from icdpo_chains.errors import UnknownFormatError

    try:
        work()
    except UnknownFormatError as error:
        item.failure = str(error)


def _report(imports: list[_Import], *, dry_run: bool, as_json: bool, verbose: bool) -> None:
    if as_json:
        write_json(
            {
                "files": [_as_dict(item, dry_run) for item in imports],
                "refused": [
                    {"file": row.path, "line": row.line, "reason": row.reason}
                    for item in imports
                    for row in item.refused
                ],
            }
        )
        return
    out = console()
    for item in imports:
        report, kinds = item.report, item.kinds
        counts = (
            f"{kinds['pairs']} pairs, {kinds['ups']} lone chosen answers, "
            f"{kinds['downs']} lone rejected answers"
            if dry_run
            else f"{report.total} read, {report.added} added, {report.updated} updated, "
            f"{report.unchanged} already there"
        )
        out.print(f"{item.name}: {counts}, {len(item.refused)} refused", soft_wrap=True)
        for what, counter in (("shape", item.shapes.shapes), ("skipped", item.shapes.skipped)):
            for name, count in counter.most_common():
                out.print(f"  {what}: {name} ({count} rows)", soft_wrap=True)
        for note in item.shapes.notes:
            out.print(f"  note: {note}", soft_wrap=True)
        if item.first is not None:
            for label, text in _preview(item.first):
                out.print(f"  {label}: {printable(text)}", soft_wrap=True)
    refused = [row for item in imports for row in item.refused]
    for row in refused if verbose else refused[:_SHOWN]:
        out.print(f"  refused {printable(str(row))}", soft_wrap=True)
    if not verbose and len(refused) > _SHOWN:
        out.print(f"  and {len(refused) - _SHOWN} more (-v lists them)")


def _as_dict(item: _Import, dry_run: bool) -> dict[str, Any]:
    report = item.report
    counts: dict[str, Any] = {
        "read": report.total,
        "added": report.added,
        "updated": report.updated,
        "already_there": report.unchanged,
    }
    if dry_run:
        counts = {**item.kinds, "first": item.first.to_dict() if item.first else None}
    return {
        "file": item.name,
        **counts,
        "shapes": dict(item.shapes.shapes),
        "skipped": dict(item.shapes.skipped),
        "notes": dict(item.shapes.notes),
        "failure": item.failure,
    }


def _preview(item: Demonstration) -> list[tuple[str, str]]:
    """The turns and the answers of a demonstration, each on one line."""
    lines: list[tuple[str, str]] = [(message.role, message.text) for message in item.messages]
    lines += [(side, text) for side in ("chosen", "rejected") if (text := getattr(item, side)) is not None]
    shown = [(label, " ".join(text.split())) for label, text in lines]
    shown = [(label, text[:_WIDTH] + ("..." if len(text) > _WIDTH else "")) for label, text in shown]
    if item.metadata:
        shown.append(("metadata", ", ".join(map(str, item.metadata))[:_WIDTH]))
    return shown
