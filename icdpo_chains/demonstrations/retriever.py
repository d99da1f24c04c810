"""`Retriever`: the protocol of retrieval; `RetrievedDemonstration`: a demonstration with its scores."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.messages import Conversation

__all__ = ["MAX_DEMONSTRATIONS", "RetrievedDemonstration", "Retriever", "Side"]

MAX_DEMONSTRATIONS = 10_000
"""The maximum number of demonstrations that one call retrieves."""

Side = Literal["both", "chosen", "rejected"]
"""The answers of a demonstration that the model is shown."""


@dataclass(frozen=True)
class RetrievedDemonstration:
    """A retrieved demonstration with its scores.

    Attributes:
        demonstration: the demonstration.
        bm25_score: the score of stage one; `None` if stage one took no part.
        similarity: the score of stage two, the cosine between the prompts; `None` if stage two took no part.
        general: the demonstration stands in for demonstrations that are unlike the question.
        side: the answers to show: `"both"` for all answers of the demonstration.
    """

    demonstration: Demonstration
    bm25_score: float | None = None
    similarity: float | None = None
    general: bool = False
    side: Side = "both"

    @property
    def shown(self) -> Demonstration:
        """The demonstration with only the answers to show."""
        if self.side == "both":
            return self.demonstration
        if self.side == "chosen":
            return replace(self.demonstration, rejected=None)
        return replace(self.demonstration, chosen=None)


class Retriever(Protocol):
    """Finds demonstrations for a prompt. Implementations are thread-safe."""

    def retrieve(
        self, prompt: Conversation, k: int | None = None, *, exclude: Collection[str] = ()
    ) -> list[RetrievedDemonstration]:
        """Returns demonstrations for a prompt, best first.

        Args:
            prompt: a string, or messages that end before the assistant's answer.
            k: the number of demonstrations; by default that of the retriever. The result may be shorter.
            exclude: ids (or one id) to leave out, such as that of the prompt's own demonstration.

        Raises:
            InvalidInputError: the prompt is blank or not valid Unicode.
            TypeError, ValueError: `k` is not a whole number above 0.
        """
        ...
