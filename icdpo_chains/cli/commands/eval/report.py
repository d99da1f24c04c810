"""`icdpo eval report`: compare systems on a page and in a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icdpo_chains.cli.command import checked, command
from icdpo_chains.cli.commands.eval.generate import answer_file
from icdpo_chains.cli.commands.eval.judge import JUDGMENTS, SWEEPS
from icdpo_chains.cli.console import console, working
from icdpo_chains.foundation.printable import printable

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from icdpo_chains.evaluation.report.tables import Table

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the subcommand."""
    command(app, "report")(report)


def report(
    run: Annotated[
        Path, typer.Argument(help="The directory of `icdpo eval generate` and `icdpo eval judge`.")
    ] = Path("eval"),
    out: Annotated[
        Path | None, typer.Option(help="Directory for report.html and report.md; by default that of the run.")
    ] = None,
    samples: Annotated[int, typer.Option(min=0, help="Number of prompts whose answers the page shows.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap and the permutation test.")] = 0,
) -> None:
    """Compare systems by their answers: quality with intervals, and cost."""
    from icdpo_chains.evaluation.report.report import Report

    with working("Reading ...") as status:
        judgments, sweeps = run / JUDGMENTS, run / SWEEPS
        found = Report.read(
            answer_file(run),
            judgments if judgments.exists() else None,
            sweeps if sweeps.exists() else None,
            seed=seed,
        )
        status.update("Drawing ...")
        with checked():
            files = found.write(out or run, samples=samples)
    comparison, *others = found.tables()
    kept = [name for name in comparison.header if name.startswith(("reward", "p (", "win rate"))]
    shown = comparison.columns("system", "answers", *kept, "seconds", "tokens")
    for table in (shown, *others):
        console().print(_rich(table))
    console(stderr=True).print(printable(" ".join(map(str, files))), soft_wrap=True)


def _rich(table: Table) -> RichTable:
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(title=Text(table.title), title_justify="left")
    for position, name in enumerate(table.header):
        drawn.add_column(Text(name), justify="right" if position else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    return drawn
