"""`Demonstration`: a prompt with a chosen answer, a rejected answer, or both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from icdpo_chains.errors import DemonstrationError, InvalidInputError
from icdpo_chains.messages import Conversation, Message, as_conversation, check_text, search_text

__all__ = ["Demonstration"]

_DEEPEST = 64
"""The maximum number of levels of lists and objects in metadata: JSON readers fail at some hundred levels."""


@dataclass(frozen=True)
class Demonstration:
    """One preference: to this prompt, `chosen` is a good answer, and `rejected` a bad one.

    A pair has both answers. A thumb up gives a chosen answer alone, a thumb down a rejected answer alone.

    Attributes:
        prompt: a string (one user turn) or a tuple of messages that ends with a user or tool turn. Messages
            may be given as any sequence of `Message` or `{"role", "content"}`.
        chosen: the better answer, not blank; `None` if there is no chosen answer.
        rejected: the worse answer, not blank, and not equal to `chosen`; `None` if there is no rejected
            answer.
        metadata: JSON values by name (provenance, topic, licence), nested at most 64 levels deep; they do not
            affect the identity.

    Raises:
        DemonstrationError: there is no answer, an answer is blank, both answers are the same, the prompt is
            unusable, or the metadata are not JSON values or are nested too deeply.
        TypeError: an answer is not a string.
    """

    prompt: str | tuple[Message, ...]
    chosen: str | None = None
    rejected: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __init__(
        self,
        prompt: Conversation,
        chosen: str | None = None,
        rejected: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        answers = {"chosen": chosen, "rejected": rejected}
        given = {name: answer for name, answer in answers.items() if answer is not None}
        try:
            messages = as_conversation(prompt)
            for name, answer in given.items():
                check_text(answer, f"the {name} answer")
        except InvalidInputError as error:
            raise DemonstrationError(str(error)) from None
        if not given:
            raise DemonstrationError(
                "there is neither a chosen nor a rejected answer: give one of them, or both"
            )
        for name, answer in given.items():
            if not answer.strip():
                raise DemonstrationError(
                    f"the {name} answer is blank: pass None if there is no {name} answer"
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
    def is_pair(self) -> bool:
        """Whether there is a chosen answer and a rejected one."""
        return self.chosen is not None and self.rejected is not None

    @property
    def messages(self) -> tuple[Message, ...]:
        """The prompt as messages."""
        return as_conversation(self.prompt)

    @property
    def prompt_text(self) -> str:
        """The text to search: the turns without system messages, joined by line breaks."""
        return search_text(self.messages)

    @property
    def prompt_id(self) -> str:
        """A hash of the prompt in the form of `id`."""
        return _digest(self._turns)

    @property
    def id(self) -> str:
        """A hash of the content: 32 hexadecimal digits of SHA-256.

        A string and the same prompt as one user message have the same id; metadata does not affect the id.
        """
        return _digest([self._turns, self.chosen, self.rejected])

    @property
    def _turns(self) -> list[list[str]]:
        return [[message.role, message.text] for message in self.messages]

    def to_dict(self) -> dict[str, Any]:
        """Returns the demonstration as JSON values, in TRL's explicit-prompt form; `from_dict` reads them.

        Missing answers are left out.
        """
        prompt = (
            self.prompt if isinstance(self.prompt, str) else [message.to_dict() for message in self.prompt]
        )
        row: dict[str, Any] = {"prompt": prompt}
        if self.chosen is not None:
            row["chosen"] = self.chosen
        if self.rejected is not None:
            row["rejected"] = self.rejected
        if self.metadata:
            row["metadata"] = dict(self.metadata)
        return row

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Demonstration:
        """Builds a demonstration from the result of `to_dict`.

        Raises:
            DemonstrationError: a field is missing or invalid.
        """
        if "prompt" not in row or ("chosen" not in row and "rejected" not in row):
            missing = "prompt" if "prompt" not in row else "chosen and no rejected"
            raise DemonstrationError(f"the row has no {missing}; it has: {', '.join(row)}")
        try:
            return cls(row["prompt"], row.get("chosen"), row.get("rejected"), row.get("metadata"))
        except TypeError as error:
            raise DemonstrationError(str(error)) from None


def _digest(content: object) -> str:
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


def _checked_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a private copy after a round trip through JSON, which a store can return exactly."""
    if not isinstance(metadata, Mapping) or not all(isinstance(name, str) for name in metadata):
        raise DemonstrationError("metadata must be a mapping whose names are strings")
    _check_depth(metadata)
    try:
        text = json.dumps(dict(metadata), allow_nan=False, ensure_ascii=False)
        text.encode("utf-8")
    except (TypeError, ValueError) as error:
        raise DemonstrationError(f"metadata must contain JSON values only: {error}") from None
    copy: dict[str, Any] = json.loads(text)
    return copy


def _check_depth(metadata: Mapping[str, Any]) -> None:
    """Refuses metadata nested more than `_DEEPEST` levels deep, including cycles."""
    level: list[Any] = [metadata]
    for _ in range(_DEEPEST):
        inner: list[Any] = []
        for value in level:
            inner += value.values() if isinstance(value, Mapping) else value
        # Visit each object once: repeated references must not multiply from level to level.
        level = list(
            {id(value): value for value in inner if isinstance(value, (Mapping, list, tuple))}.values()
        )
        if not level:
            return
    raise DemonstrationError(
        f"metadata are nested more than {_DEEPEST} levels deep: flatten them, or keep them as one string"
    )
