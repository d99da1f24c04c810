"""The API key that clients of a server must send."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.foundation.environment import SERVER_KEY, server_key
from icdpo_chains.foundation.network import is_loopback

__all__ = ["APIKeyFile", "read_api_key"]

APIKeyFile: TypeAlias = Annotated[
    Path | None, typer.Option(help=f"File with the key that clients must send; or set {SERVER_KEY}.")
]


def read_api_key(file: Path | None, host: str) -> str | None:
    """Returns the key from the file or the environment.

    The command line takes no key, because every user of the machine can read it.

    Args:
        file: the value of `--api-key-file`.
        host: the address that the server will listen on.

    Raises:
        BadParameter: there is no key, and other machines can reach the server.
        InvalidInputError: the value found is not a valid key.
        OSError: the file can't be read.
    """
    key, where = server_key(), SERVER_KEY
    if file is not None:
        try:
            key, where = file.read_text(encoding="utf-8"), str(file)
        except UnicodeDecodeError:
            raise InvalidInputError(f"{file} is not UTF-8: an API key file must contain ASCII") from None
    if key is None:
        if not is_loopback(host):
            raise typer.BadParameter(
                f"other machines can reach {host}, so the server needs a key: give --api-key-file FILE, or "
                f"set {SERVER_KEY}"
            )
        return None
    if len(key.split()) != 1 or not key.isascii():
        raise InvalidInputError(f"{where} must contain one API key, in ASCII and without white space")
    return key.strip()
