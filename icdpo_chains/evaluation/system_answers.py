"""`SystemAnswer`: the answer of one system to one prompt, and its cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from icdpo_chains.messages import Message, as_conversation

__all__ = ["ScoredText", "SystemAnswer"]


@dataclass(frozen=True)
class ScoredText:
    """One candidate of a system that samples several.

    Attributes:
        text: the candidate.
        scores: the scores by measure, including the measure of the system's ranking.
    """

    text: str
    scores: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class SystemAnswer:
    """One line of an answer file.

    Attributes:
        system: the system's name.
        prompt_id: the id of the prompt's held-out demonstration.
        prompt: the conversation.
        text: the answer.
        reference: the chosen answer of the held-out demonstration.
        seconds: wall time of this answer, without loading or training.
        tokens: the number of sampled tokens, including all candidates.
        candidates: the candidates of a system that samples several, in the order of sampling.
    """

    system: str
    prompt_id: str
    prompt: tuple[Message, ...]
    text: str
    reference: str
    seconds: float
    tokens: int
    candidates: tuple[ScoredText, ...] = ()

    @property
    def key(self) -> str:
        """Names the answer in a file: one for each system and prompt."""
        return f"{self.system}/{self.prompt_id}"

    def to_dict(self) -> dict[str, Any]:
        """Returns the answer as JSON values; `from_dict` reads it."""
        return {
            "system": self.system,
            "prompt_id": self.prompt_id,
            "prompt": [message.to_dict() for message in self.prompt],
            "text": self.text,
            "reference": self.reference,
            "seconds": self.seconds,
            "tokens": self.tokens,
            "candidates": [{"text": item.text, "scores": dict(item.scores)} for item in self.candidates],
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> SystemAnswer:
        """Builds an answer from the values of `to_dict`."""
        return cls(
            system=row["system"],
            prompt_id=row["prompt_id"],
            prompt=tuple(as_conversation(row["prompt"])),
            text=row["text"],
            reference=row["reference"],
            seconds=row["seconds"],
            tokens=row["tokens"],
            candidates=tuple(ScoredText(item["text"], item["scores"]) for item in row["candidates"]),
        )
