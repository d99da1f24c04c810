"""`write_demonstrations`: writes demonstrations as JSON lines, which `read_demonstrations` reads exactly."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.files.shapes import read_row
from icdpo_chains.errors import DemonstrationError, UnknownFormatError
from icdpo_chains.foundation.atomic_file import atomic_file

__all__ = ["write_demonstrations"]


def write_demonstrations(path: str | os.PathLike[str], demonstrations: Iterable[Demonstration]) -> int:
    """Writes demonstrations as JSON lines, atomically.

    Returns:
        The number of demonstrations.

    Raises:
        OSError: the file can't be written.
        UnknownFormatError: the file's suffix is not that of JSON lines.
    """
    target = Path(path)
    if not target.name.removesuffix(".gz").endswith((".jsonl", ".ndjson", ".json")):
        raise UnknownFormatError(
            f"an export is JSON lines, and {str(target)!r} has another suffix: use .jsonl"
        )
    count = 0
    with atomic_file(target) as file:
        for demonstration in demonstrations:
            file.write(f"{json.dumps(_row(demonstration))}\n".encode("ascii"))
            count += 1
    return count


def _row(demonstration: Demonstration) -> dict[str, Any]:
    """Returns a row that reads back as this demonstration.

    Texts of messages are never interpreted, so a text that looks like a transcript, JSON or HTML is written
    as a message.
    """
    row = demonstration.to_dict()
    try:
        if read_row(row).outcomes == (demonstration,):
            return row
    except DemonstrationError:
        pass
    row["prompt"] = [message.to_dict() for message in demonstration.messages]
    for side in ("chosen", "rejected"):
        if side in row:
            row[side] = [{"role": "assistant", "content": row[side]}]
    return row
