"""`Reward`: judges an answer by a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from icdpo_chains.messages import Conversation

__all__ = ["Reward"]


class Reward(Protocol):
    """Judges answers by a number.

    Attributes:
        name: names the reward in results.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    def rewards(self, conversations: Sequence[Conversation], responses: Sequence[str]) -> list[float]:
        """Returns a number for each conversation and its response: the higher, the better."""
        ...
