"""`icdpo import`: add preference files to the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icdpo_chains.cli import options
from icdpo_chains.cli.command import command
from icdpo_chains.cli.console import console, error_line, printable, write_json

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.files import RefusedRow
    from icdpo_chains.demonstrations.store import AddReport

__all__ = ["register"]

_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Adds the subcommand."""
    command(app, "import")(import_files)


def import_files(
    files: Annotated[
        list[Path], typer.Argument(help="JSONL, JSON, CSV or Parquet; may be compressed (.gz).")
    ],
    store: options.Store = None,
    as_json: options.AsJson = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help=f"List all refused rows, not only {_SHOWN}.")
    ] = False,
) -> None:
    """Add demonstrations from preference files to the store.

    Demonstrations that the store already holds are not added twice. Unusable rows are refused and listed; the
    exit code is 1 if a file holds no usable row.
    """
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from icdpo_chains.demonstrations.files import read_demonstrations
    from icdpo_chains.demonstrations.store import AddReport

    # Check all files before the first write: a misspelt name must not leave half of them imported.
    refused: list[RefusedRow] = []
    sources = {file: read_demonstrations(file, on_refused=refused.append) for file in files}
    done: dict[Path, AddReport] = {}
    columns = (SpinnerColumn(), TextColumn("{task.completed} demonstrations"), TimeElapsedColumn())
    try:
        with (
            options.open_store(store, read_only=False) as opened,
            Progress(*columns, console=console(stderr=True), transient=True) as progress,
        ):
            for file, demonstrations in sources.items():
                task = progress.add_task(file.name, total=None)

                def count(report: AddReport, file: Path = file, task: object = task) -> None:
                    done[file] = report
                    progress.update(task, completed=report.total)  # type: ignore[arg-type]

                done[file] = AddReport()
                done[file] = opened.add(demonstrations, on_batch=count)
                progress.remove_task(task)
    finally:
        # Also after an error or Ctrl-C: the demonstrations already written stay, so report them.
        _report(done, refused, as_json=as_json, verbose=verbose)
    if not all(report.total for report in done.values()):
        empty = ", ".join(str(file) for file, report in done.items() if not report.total)
        error_line(f"{empty}: no row could be used")
        raise typer.Exit(1)


def _report(done: dict[Path, AddReport], refused: list[RefusedRow], *, as_json: bool, verbose: bool) -> None:
    if as_json:
        write_json(
            {
                "files": [
                    {
                        "file": str(file),
                        "read": report.total,
                        "added": report.added,
                        "updated": report.updated,
                        "already_there": report.unchanged,
                    }
                    for file, report in done.items()
                ],
                "refused": [{"file": row.path, "line": row.line, "reason": row.reason} for row in refused],
            }
        )
        return
    out = console()
    for file, report in done.items():
        out.print(
            f"{file}: {report.total} read, {report.added} added, {report.updated} updated, "
            f"{report.unchanged} already there, {sum(row.path == str(file) for row in refused)} refused",
            soft_wrap=True,
        )
    for row in refused if verbose else refused[:_SHOWN]:
        out.print(f"  refused {printable(str(row))}", soft_wrap=True)
    if not verbose and len(refused) > _SHOWN:
        out.print(f"  and {len(refused) - _SHOWN} more (-v lists them)")
