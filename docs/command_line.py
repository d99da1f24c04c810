"""A hook of mkdocs: writes the commands and their options into reference/command_line.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

MARKER = "<!-- commands -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replaces the marker by the commands; mkdocs calls this for each page."""
    return markdown.replace(MARKER, command_reference()) if MARKER in markdown else markdown


def command_reference() -> str:
    """Returns the help of every command as Markdown."""
    import typer

    from icdpo_chains.cli.app import app

    return "\n".join(_command("icdpo", typer.main.get_command(app)))


def _command(path: str, command: Any) -> Iterator[str]:
    children = sorted(getattr(command, "commands", {}).items())
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    options = [item for item in command.params if item.param_type_name == "option" and not item.hidden]
    yield f"## `{path}`\n\n{_text(command.help)}\n"
    usage = " ".join(
        ["[OPTIONS]", *(["COMMAND"] if children else []), *(item.name.upper() for item in arguments)]
    )
    yield f"```sh\n{path} {usage}\n```\n"
    if arguments or path != "icdpo":
        yield "| argument or option | meaning | default |\n|---|---|---|"
        for item in arguments:
            yield f"| `{item.name.upper()}` | {_text(item.help)} | {_default(item)} |"
        for item in options:
            names = " ".join([*item.opts, *item.secondary_opts])
            yield f"| `{names}` | {_text(item.help)} | {_default(item)} |"
        yield ""
    for name, child in children:
        yield from _command(f"{path} {name}", child)


def _text(help_text: str | None) -> str:
    words = " ".join((help_text or "").split())
    return words.replace("|", "\\|").replace("<", "&lt;")


def _default(parameter: Any) -> str:
    default = parameter.default
    return "" if default in (None, "", False, ()) or callable(default) else f"`{default}`"
