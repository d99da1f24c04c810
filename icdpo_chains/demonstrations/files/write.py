"""`write_demonstrations`: demonstrations as JSON lines, which `read_demonstrations` reads back exactly."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.errors import UnknownFormatError

__all__ = ["write_demonstrations"]


def write_demonstrations(path: str | os.PathLike[str], demonstrations: Iterable[Demonstration]) -> int:
    """Writes demonstrations as JSON lines; the file appears whole or not at all.

    Returns:
        How many there were.

    Raises:
        OSError: the file can't be written.
        UnknownFormatError: its name says that it is something else than JSON lines.
    """
    target = Path(path)
    if not target.name.removesuffix(".gz").endswith((".jsonl", ".ndjson", ".json")):
        raise UnknownFormatError(
            f"an export is JSON lines, and {str(target)!r} would not be read as such: name it .jsonl"
        )
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    count = 0
    try:
        with part.open("x", encoding="ascii", newline="\n") as file:
            for demonstration in demonstrations:
                file.write(json.dumps(demonstration.to_dict()) + "\n")
                count += 1
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return count
