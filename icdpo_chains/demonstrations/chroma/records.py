"""Converts demonstrations to Chroma's records, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.pairing import is_tie
from icdpo_chains.errors import DemonstrationError, StoreError
from icdpo_chains.messages import Message, as_message, search_text

__all__ = [
    "CONTENT",
    "HAS_CHOSEN",
    "HAS_REJECTED",
    "PROMPT",
    "RESERVED",
    "REVISION",
    "embedding_text",
    "from_record",
    "prompt_text",
    "same_metadata",
    "to_record",
]

RESERVED = "icdpo:"
"""The prefix of our own metadata. A user's metadata with this prefix can't be used in filters."""

REVISION = f"{RESERVED}revision"
"""A collection's key: its value changes with each change of the content."""

HAS_CHOSEN = f"{RESERVED}has_chosen"
"""False if there is no chosen answer to show; absent otherwise."""

HAS_REJECTED = f"{RESERVED}has_rejected"
"""Whether there is a rejected answer to show."""

PROMPT = f"{RESERVED}prompt"
"""The demonstration's `prompt_id`."""

CONTENT = f"{RESERVED}demonstration"
"""The demonstration, as one string of JSON."""

# MiniLM reads the first 256 tokens of a text. The question is at the end of a conversation.
_MOST_CHARACTERS = 1_000


def to_record(demonstration: Demonstration) -> dict[str, str | int | float | bool]:
    """Returns Chroma's metadata of a demonstration.

    Chroma drops `None` and takes only scalars, so the exact demonstration is one ASCII string of JSON. Scalar
    metadata are repeated as separate values for filters.
    """
    record: dict[str, str | int | float | bool] = {
        name: value
        for name, value in demonstration.metadata.items()
        # Chroma refuses or reserves some names, and stores 64-bit integers.
        if name
        and not name.startswith((RESERVED, "chroma:", "#", "$"))
        and isinstance(value, (str, int, float))
        and not (isinstance(value, int) and abs(value) >= 2**63)
    }
    tie = is_tie(demonstration)
    if demonstration.chosen is None or tie:
        record[HAS_CHOSEN] = False
    record[HAS_REJECTED] = demonstration.rejected is not None and not tie
    record[PROMPT] = demonstration.prompt_id
    record[CONTENT] = json.dumps(demonstration.to_dict(), ensure_ascii=True)
    return record


def from_record(record: Mapping[str, Any] | None) -> Demonstration:
    """Returns the exact demonstration of a record of `to_record`.

    Raises:
        StoreError: the record is damaged, or another program wrote it.
    """
    try:
        return Demonstration.from_dict(_content(record))
    except DemonstrationError as error:
        raise StoreError(f"the record is damaged: {error}") from None


def prompt_text(record: Mapping[str, Any] | None) -> str:
    """Returns the `prompt_text` of a record's demonstration without building it.

    Raises:
        StoreError: see `from_record`.
    """
    prompt = _content(record).get("prompt")
    if isinstance(prompt, str):
        return prompt
    try:
        return search_text([as_message(turn, i) for i, turn in enumerate(prompt or [])])
    except (TypeError, KeyError, ValueError) as error:
        raise StoreError(f"the record is damaged: its prompt is not a conversation ({error})") from None


def same_metadata(record: Mapping[str, Any], demonstration: Demonstration) -> bool:
    """Returns whether a record has these metadata; 1, 1.0 and true are different values.

    Raises:
        StoreError: see `from_record`.
    """
    kept = _content(record).get("metadata", {})
    return json.dumps(kept, sort_keys=True) == json.dumps(demonstration.metadata, sort_keys=True)


def embedding_text(messages: Sequence[Message]) -> str:
    """Returns the text to embed for a prompt: the last 1,000 characters of its `search_text`."""
    return search_text(messages)[-_MOST_CHARACTERS:]


def _content(record: Mapping[str, Any] | None) -> dict[str, Any]:
    if record is None or CONTENT not in record:
        raise StoreError("the record has no demonstration: it is damaged, or another program wrote it")
    try:
        content = json.loads(record[CONTENT])
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"the record is damaged: {error}") from None
    if not isinstance(content, dict):
        raise StoreError(f"the record is damaged: it contains {content!r:.40}")
    return content
