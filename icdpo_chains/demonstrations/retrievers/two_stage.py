"""`TwoStageRetriever`: BM25, then sentence embeddings over its results."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from icdpo_chains.demonstrations.answer_filter import AnswerFilter
from icdpo_chains.demonstrations.bm25_index import BM25Index, tokenize
from icdpo_chains.demonstrations.chroma.records import embedding_text
from icdpo_chains.demonstrations.retriever import MAX_DEMONSTRATIONS, RetrievedDemonstration
from icdpo_chains.foundation.process_local import ProcessLocal
from icdpo_chains.foundation.validation import check_count
from icdpo_chains.messages import Conversation, as_conversation, search_text

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.store import DemonstrationStore, Where

__all__ = ["TwoStageRetriever"]


class TwoStageRetriever(ProcessLocal):
    """BM25 over the prompts, then sentence embeddings over its results (arXiv 2402.09320).

    Stage one reads the last 30 tokens of the conversation; stage two takes the nearest prompts of its pool.
    If stage one finds fewer than k (for example, no prompt shares a word with the question), embeddings alone
    find the rest. The index follows changes of the store by any process.

    Args:
        store: the demonstrations.
        k: the number of demonstrations to return; the paper shows 2 or 3.
        pool: the number of results of stage one; 20 in the paper.
        query_tokens: the number of tokens that stage one reads, from the end; 30 in the paper.
        require_chosen: only demonstrations with a chosen answer.
        require_rejected: only demonstrations with a rejected answer.
        where: only demonstrations with matching metadata (Chroma's `where`).
    """

    def __init__(
        self,
        store: DemonstrationStore,
        k: int = 2,
        pool: int = 20,
        *,
        query_tokens: int = 30,
        require_chosen: bool = True,
        require_rejected: bool = False,
        where: Where | None = None,
    ) -> None:
        self.store = store
        self.k = check_count(k, "k", MAX_DEMONSTRATIONS)
        self.pool = check_count(pool, "pool", MAX_DEMONSTRATIONS)
        self.query_tokens = check_count(query_tokens, "query_tokens", MAX_DEMONSTRATIONS)
        self._filter = AnswerFilter(
            store, require_chosen=require_chosen, require_rejected=require_rejected, where=where
        )
        self._lock = threading.Lock()
        self._snapshot: _Snapshot | None = None

    def retrieve(
        self, prompt: Conversation, k: int | None = None, *, exclude: Collection[str] = ()
    ) -> list[RetrievedDemonstration]:
        """Returns the k best demonstrations for a prompt, best first. See `Retriever.retrieve`."""
        messages = as_conversation(prompt)
        k = self.k if k is None else check_count(k, "k", MAX_DEMONSTRATIONS)
        snapshot = self._current_snapshot()
        index = snapshot.index
        if not index.ids:
            return []
        excluded = {exclude} if isinstance(exclude, str) else set(exclude)
        allowed = snapshot.allowed.copy()
        allowed[[index.row[id_] for id_ in excluded if id_ in index.row]] = False
        tokens = tokenize(search_text(messages))[-self.query_tokens :]
        pool = {index.ids[row]: score for row, score in index.bm25.best(tokens, max(self.pool, k), allowed)}
        vector = self.store.embed([embedding_text(messages)])[0]
        found = self.store.nearest(vector, k, ids=list(pool)) if pool else []
        if len(found) < k:
            taken = excluded | {id_ for id_, _ in found}
            others = self.store.nearest(vector, k + len(taken & index.row.keys()), where=snapshot.where)
            found += [pair for pair in others if pair[0] not in taken and pair[0] in index.row]
        similarities = dict(found[:k])
        demonstrations = self.store.get(list(similarities))
        return [
            RetrievedDemonstration(item, pool.get(item.id), similarities[item.id]) for item in demonstrations
        ]

    def _current_snapshot(self) -> _Snapshot:
        with self._lock:
            stamp = self.store.fingerprint
            if self._snapshot is None or self._snapshot.index.stamp != stamp:
                index = _Index.of(self.store, stamp)
                self._snapshot = _Snapshot(self.store, self._filter.where(stamp), index)
            return self._snapshot


class _Snapshot:
    """The demonstrations open to a retriever, in a snapshot of a store."""

    def __init__(self, store: DemonstrationStore, where: Where | None, index: _Index) -> None:
        self.index, self.where = index, where
        matching = None if where is None else store.ids(where=where)
        self.allowed = np.array([matching is None or id_ in matching for id_ in index.ids], dtype=bool)


class _Index:
    """The BM25 index of a snapshot of a store."""

    def __init__(self, store: DemonstrationStore, stamp: str) -> None:
        self.stamp = stamp
        # In the order of the ids, so that ties do not depend on the order of insertion.
        prompts = sorted(store.prompts())
        self.ids = [id_ for id_, _ in prompts]
        self.row = {id_: row for row, id_ in enumerate(self.ids)}
        self.bm25 = BM25Index([text for _, text in prompts])

    @classmethod
    def of(cls, store: DemonstrationStore, stamp: str) -> _Index:
        """Returns the index of a store, shared by all its retrievers."""
        with _building:
            index = _latest.get(store)
            if index is None or index.stamp != stamp:
                index = _latest[store] = cls(store, stamp)
            return index


_latest: weakref.WeakKeyDictionary[DemonstrationStore, _Index] = weakref.WeakKeyDictionary()
_building = threading.Lock()
