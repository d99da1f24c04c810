"""The key that clients of a server have to send."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.network import is_loopback

__all__ = ["APIKeyFile", "read_api_key"]

_VARIABLE = "ICDPO_API_KEY"

APIKeyFile: TypeAlias = Annotated[
    Path | None, typer.Option(help=f"Holds the key that clients have to send; or set {_VARIABLE}.")
]


def read_api_key(file: Path | None, host: str) -> str | None:
    """Returns the key of the file, or of the environment; never of the command line, which all can read.

    Args:
        file: what `--api-key-file` names.
        host: where the server is to listen.

    Raises:
        BadParameter: there is none, and others than this machine can reach the server.
        InvalidInputError: what there is, is no key.
        OSError: the file can't be read.
    """
    key, where = os.environ.get(_VARIABLE), _VARIABLE
    if file is not None:
        try:
            key, where = file.read_text(encoding="utf-8"), str(file)
        except UnicodeDecodeError:
            raise InvalidInputError(f"{file} is not UTF-8, and is to hold an API key") from None
    if key is None:
        if not is_loopback(host):
            raise typer.BadParameter(
                f"others can reach {host}, so that a key is needed: give --api-key-file FILE, or set "
                f"{_VARIABLE}"
            )
        return None
    if len(key.split()) != 1 or not key.isascii():
        raise InvalidInputError(f"{where} must hold one API key: ASCII, without white space in it")
    return key.strip()
