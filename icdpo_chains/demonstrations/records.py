"""What Chroma keeps of a demonstration, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.messages import Message

__all__ = ["HAS_REJECTED", "RESERVED", "embedding_text", "from_record", "to_record"]

RESERVED = "icdpo:"
"""Our own metadata begin with this; a user's that do so are kept, but can't be filtered by."""

HAS_REJECTED = f"{RESERVED}has_rejected"
_CONTENT = f"{RESERVED}demonstration"

# MiniLM reads 256 tokens from the start of a text. The end of a conversation says what is asked.
_MOST_CHARACTERS = 1_000


def to_record(demonstration: Demonstration) -> dict[str, str | int | float | bool]:
    """Returns Chroma's metadata of a demonstration.

    Chroma drops `None` and takes scalars only, so the exact demonstration is one ASCII string of JSON; scalar
    metadata stand beside it, to filter by.
    """
    record: dict[str, str | int | float | bool] = {
        name: value
        for name, value in demonstration.metadata.items()
        # Chroma reserves its own prefix, and keeps integers in 64 bits.
        if name
        and not name.startswith((RESERVED, "chroma:"))
        and isinstance(value, (str, int, float))
        and not (isinstance(value, int) and abs(value) >= 2**63)
    }
    record[HAS_REJECTED] = demonstration.rejected is not None
    record[_CONTENT] = json.dumps(demonstration.to_dict(), ensure_ascii=True)
    return record


def from_record(record: Mapping[str, Any]) -> Demonstration:
    """Returns the demonstration that `to_record` was given, exactly."""
    return Demonstration.from_dict(json.loads(record[_CONTENT]))


def embedding_text(messages: Sequence[Message]) -> str:
    """Returns what of a prompt is embedded: the last 1,000 characters of its turns."""
    return "\n".join(message.content for message in messages)[-_MOST_CHARACTERS:]
