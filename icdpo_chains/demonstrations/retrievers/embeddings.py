"""`EmbeddingRetriever`: only the second of the two stages."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from icdpo_chains.demonstrations.answer_filter import AnswerFilter
from icdpo_chains.demonstrations.chroma.records import embedding_text
from icdpo_chains.demonstrations.retriever import MAX_DEMONSTRATIONS, RetrievedDemonstration
from icdpo_chains.foundation.validation import check_count
from icdpo_chains.messages import Conversation, as_conversation

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.store import DemonstrationStore

__all__ = ["EmbeddingRetriever"]


class EmbeddingRetriever:
    """Only the second of the two stages: the nearest prompts of the whole store by embeddings.

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
        self.k = check_count(k, "k", MAX_DEMONSTRATIONS)
        self._filter = AnswerFilter(store, require_chosen=require_chosen, require_rejected=require_rejected)

    def retrieve(
        self, prompt: Conversation, k: int | None = None, *, exclude: Collection[str] = ()
    ) -> list[RetrievedDemonstration]:
        """Returns the k nearest demonstrations, nearest first. See `Retriever.retrieve`."""
        messages = as_conversation(prompt)
        k = self.k if k is None else check_count(k, "k", MAX_DEMONSTRATIONS)
        excluded = {exclude} if isinstance(exclude, str) else set(exclude)
        vector = self.store.embed([embedding_text(messages)])[0]
        where = self._filter.where()  # sees what others wrote
        nearest = self.store.nearest(vector, k + len(excluded), where=where)
        similarity = dict([pair for pair in nearest if pair[0] not in excluded][:k])
        return [
            RetrievedDemonstration(item, similarity=similarity[item.id])
            for item in self.store.get(list(similarity))
        ]
