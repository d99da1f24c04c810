"""The public names are those of public_names.txt, so that a change of them is a visible diff.

After an intended change: `python tests/unit/test_public_names.py` writes the file anew.
"""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

SNAPSHOT = Path(__file__).with_name("public_names.txt")
PACKAGES = ("icdpo_chains", "langchain_icdpo", "llama_index_icdpo")


def public_names() -> str:
    """Returns `__all__` of the packages, and the commands with their arguments and options."""
    from icdpo_chains.cli.app import app

    lines: list[str] = []
    for package in PACKAGES:
        lines += [f"{package}.{name}" for name in sorted(importlib.import_module(package).__all__)]
    return "\n".join([*lines, *_commands("icdpo", typer.main.get_command(app))]) + "\n"


def _commands(path: str, command: Any) -> Iterator[str]:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    yield " ".join([path, *(parameter.name.upper() for parameter in arguments)])
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    yield from sorted(f"{path} {' '.join([*o.opts, *o.secondary_opts])}" for o in options)
    for name, child in sorted(getattr(command, "commands", {}).items()):
        yield from _commands(f"{path} {name}", child)


def test_the_public_names_are_those_of_the_snapshot() -> None:
    assert public_names().splitlines() == SNAPSHOT.read_text("utf-8").splitlines()


if __name__ == "__main__":
    SNAPSHOT.write_text(public_names(), "utf-8")
