"""`BM25Retriever`: only the first of the two stages."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from icdpo_chains.demonstrations.retriever import RetrievedDemonstration
from icdpo_chains.demonstrations.retrievers.two_stage import TwoStageRetriever
from icdpo_chains.messages import Conversation

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.store import DemonstrationStore

__all__ = ["BM25Retriever"]


class BM25Retriever:
    """Only the first of the two stages: the order of BM25.

    If fewer than k prompts share a word with the question, embeddings find the rest, as in two stages.

    Args:
        store: the demonstrations.
        k: the number of demonstrations to return.
        require_chosen: only demonstrations with a chosen answer.
        require_rejected: only demonstrations with a rejected answer.
    """

    def __init__(
        self,
        store: DemonstrationStore,
        k: int = 2,
        *,
        require_chosen: bool = True,
        require_rejected: bool = False,
    ) -> None:
        self.store = store
        # The pool has exactly k demonstrations, so the second stage has no choice.
        self._stages = TwoStageRetriever(
            store, k, pool=1, require_chosen=require_chosen, require_rejected=require_rejected
        )

    def retrieve(
        self, prompt: Conversation, k: int | None = None, *, exclude: Collection[str] = ()
    ) -> list[RetrievedDemonstration]:
        """Returns the k best demonstrations by BM25, best first. See `Retriever.retrieve`."""
        found = self._stages.retrieve(prompt, k, exclude=exclude)
        return sorted(found, key=lambda item: -(item.bm25_score or 0))
