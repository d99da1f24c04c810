"""`icdpo eval`: one file per subcommand."""

from __future__ import annotations

import typer

from icdpo_chains.cli.commands.eval import accuracy, generate, judge, report, rules

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Find out whether ICDPO helps on your model and data.")
for part in (accuracy, generate, judge, report, rules):
    part.register(app)
