"""`Demonstration`: a prompt, the answer that was preferred and, mostly, the one that was not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from icdpo_chains.errors import DemonstrationError, InvalidInputError
from icdpo_chains.messages import Conversation, Message, as_conversation, check_text, search_text

__all__ = ["Demonstration"]


@dataclass(frozen=True)
class Demonstration:
    """One preference: to this prompt, `chosen` is a better answer than `rejected`.

    Attributes:
        prompt: a string (one user turn) or a tuple of messages that ends with a user or tool turn. Messages
            may be given as any sequence of `Message` or `{"role", "content"}`.
        chosen: the better answer; not blank.
        rejected: the worse answer, or `None` where there is none; not blank, and not equal to `chosen`.
        metadata: JSON values by name (provenance, topic, licence); not part of the identity.

    Raises:
        DemonstrationError: a blank or doubled answer, an unusable prompt, metadata that JSON can't hold.
        TypeError: an answer that is not a string.
    """

    prompt: str | tuple[Message, ...]
    chosen: str
    rejected: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __init__(
        self,
        prompt: Conversation,
        chosen: str,
        rejected: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        try:
            messages = as_conversation(prompt)
            check_text(chosen, "the chosen answer")
            if rejected is not None:
                check_text(rejected, "the rejected answer")
        except InvalidInputError as error:
            raise DemonstrationError(str(error)) from None
        if not chosen.strip():
            raise DemonstrationError("the chosen answer is blank: a demonstration has to show an answer")
        if rejected is not None and not rejected.strip():
            raise DemonstrationError(
                "the rejected answer is blank: pass None where there is no rejected answer"
            )
        if rejected == chosen:
            raise DemonstrationError(
                f"the chosen and the rejected answer are the same, which states no preference: {chosen!r:.60}"
            )
        object.__setattr__(self, "prompt", prompt if isinstance(prompt, str) else messages)
        object.__setattr__(self, "chosen", chosen)
        object.__setattr__(self, "rejected", rejected)
        object.__setattr__(self, "metadata", _checked_metadata(metadata or {}))

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def messages(self) -> tuple[Message, ...]:
        """The prompt as messages, whichever way it was given."""
        return as_conversation(self.prompt)

    @property
    def prompt_text(self) -> str:
        """The prompt as one text, turns joined by line breaks, without system messages: what is searched."""
        return search_text(self.messages)

    @property
    def id(self) -> str:
        """A hash of the content: 32 hexadecimal digits of SHA-256.

        The same prompt as a string and as one user message has the same id; metadata does not count.
        """
        turns = [[message.role, message.content] for message in self.messages]
        content = json.dumps([turns, self.chosen, self.rejected], ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(content.encode("ascii")).hexdigest()[:32]

    def to_dict(self) -> dict[str, Any]:
        """Returns the demonstration as JSON values, in TRL's explicit-prompt form; `from_dict` reads it."""
        prompt = (
            self.prompt if isinstance(self.prompt, str) else [message.to_dict() for message in self.prompt]
        )
        row: dict[str, Any] = {"prompt": prompt, "chosen": self.chosen}
        if self.rejected is not None:
            row["rejected"] = self.rejected
        if self.metadata:
            row["metadata"] = dict(self.metadata)
        return row

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Demonstration:
        """Builds a demonstration from what `to_dict` returned.

        Raises:
            DemonstrationError: a field is missing or can't be used.
        """
        missing = [name for name in ("prompt", "chosen") if name not in row]
        if missing:
            raise DemonstrationError(f"the row has no {' and no '.join(missing)}; it has: {', '.join(row)}")
        try:
            return cls(row["prompt"], row["chosen"], row.get("rejected"), row.get("metadata"))
        except TypeError as error:
            raise DemonstrationError(str(error)) from None


def _checked_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """A private copy, as JSON gives it back: so that a store can return exactly what it was given."""
    if not isinstance(metadata, Mapping) or not all(isinstance(name, str) for name in metadata):
        raise DemonstrationError("metadata must be a mapping whose names are strings")
    try:
        text = json.dumps(dict(metadata), allow_nan=False, ensure_ascii=False)
        text.encode("utf-8")
    except (TypeError, ValueError) as error:
        raise DemonstrationError(f"metadata must hold JSON values only: {error}") from None
    copy: dict[str, Any] = json.loads(text)
    return copy
