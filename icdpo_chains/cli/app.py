"""The `icdpo` command, assembled from its subcommands."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import Annotated

import typer

from icdpo_chains.cli.commands import (
    ask,
    batch,
    chat,
    demo,
    demos,
    distill,
    import_files,
    mcp,
    models,
    score,
    serve,
    tune,
    ui,
)
from icdpo_chains.cli.commands.eval import app as eval_app

__all__ = ["app", "main"]

app = typer.Typer(
    name="icdpo",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
demo.register(app)
ask.register(app)
chat.register(app)
score.register(app)
batch.register(app)
serve.register(app)
mcp.register(app)
import_files.register(app)
distill.register(app)
tune.register(app)
ui.register(app)
for _name, _group in (("demos", demos.app), ("models", models.app), ("eval", eval_app)):
    app.add_typer(_group, name=_name, short_help=_group.info.help)


def _print_version(wanted: bool) -> None:
    if wanted:
        from icdpo_chains import __version__

        typer.echo(f"icdpo-chains {__version__}")
        raise typer.Exit


@app.callback()
def _icdpo(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Better answers from a local language model, without training (ICDPO, arXiv 2402.09320).

    Exit codes: 0 done, 1 an error, 2 a wrong option or argument, 130 interrupted.
    """


def main() -> None:
    """Runs the command with the process's arguments, and exits."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show a character must not lose the answer.
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(ValueError):
                stream.reconfigure(errors="backslashreplace")
    app()
