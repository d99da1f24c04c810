"""`FixedDemonstrations`: the same demonstrations for each prompt."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.retriever import MAX_DEMONSTRATIONS, RetrievedDemonstration
from icdpo_chains.foundation.validation import check_count
from icdpo_chains.messages import Conversation, as_conversation

__all__ = ["FixedDemonstrations"]


class FixedDemonstrations:
    """Returns the same given demonstrations for each prompt.

    Args:
        demonstrations: best first: the first is shown next to the question and is dropped last.
        k: the number of demonstrations to return; by default all.
    """

    def __init__(self, demonstrations: Sequence[Demonstration], k: int | None = None) -> None:
        self._demonstrations = tuple(demonstrations)
        self.k = k if k is None else check_count(k, "k", MAX_DEMONSTRATIONS)

    def retrieve(
        self, prompt: Conversation, k: int | None = None, *, exclude: Collection[str] = ()
    ) -> list[RetrievedDemonstration]:
        """Returns the first k demonstrations. See `Retriever.retrieve`."""
        as_conversation(prompt)
        k = self.k if k is None else check_count(k, "k", MAX_DEMONSTRATIONS)
        excluded = {exclude} if isinstance(exclude, str) else set(exclude)
        kept = [item for item in self._demonstrations if item.id not in excluded]
        return [RetrievedDemonstration(item) for item in kept[:k]]
