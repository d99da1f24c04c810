"""`RecentAnswers`: the latest answers of the server by their ids, for feedback on them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from icdpo_chains.messages import Message

__all__ = ["RecentAnswer", "RecentAnswers"]


@dataclass(frozen=True)
class RecentAnswer:
    """One of the returned answers.

    Attributes:
        conversation: the question.
        text: the answer.
    """

    conversation: Sequence[Message]
    text: str

    @property
    def size(self) -> int:
        """Its length in characters."""
        return len(self.text) + sum(len(message.text) for message in self.conversation)


class RecentAnswers:
    """The latest answers; the oldest are forgotten. Thread-safe.

    Args:
        most: the maximum number of responses to keep, each with all its choices.
        most_characters: the maximum number of characters of all kept texts.
    """

    def __init__(self, most: int = 10_000, most_characters: int = 20_000_000) -> None:
        self._most, self._most_characters = most, most_characters
        self._kept: OrderedDict[str, tuple[RecentAnswer, ...]] = OrderedDict()
        self._characters = 0
        self._lock = threading.Lock()

    def keep(self, id: str, answers: Sequence[RecentAnswer]) -> None:
        """Keeps the choices of a response under its id."""
        with self._lock:
            self._kept[id] = tuple(answers)
            self._characters += _size(answers)
            while len(self._kept) > self._most or self._characters > self._most_characters:
                _, oldest = self._kept.popitem(last=False)
                self._characters -= _size(oldest)

    def get(self, id: str) -> tuple[RecentAnswer, ...] | None:
        """Returns the choices of a response; `None` if the id is unknown or forgotten."""
        with self._lock:
            return self._kept.get(id)


def _size(answers: Sequence[RecentAnswer]) -> int:
    return sum(answer.size for answer in answers)
