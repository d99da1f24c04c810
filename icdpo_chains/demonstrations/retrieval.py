"""Retrievers of demonstrations: `TwoStageRetriever`, `RandomRetriever`, `FixedDemonstrations`."""

from __future__ import annotations

import hashlib
import random
import threading
import weakref
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from icdpo_chains.demonstrations.bm25 import BM25Index, tokenize
from icdpo_chains.demonstrations.chroma.records import embedding_text
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.sides import AnswerFilter, Side
from icdpo_chains.live import Live
from icdpo_chains.messages import Conversation, as_conversation, search_text
from icdpo_chains.validation import check_count

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.store import DemonstrationStore, Where

__all__ = [
    "FixedDemonstrations",
    "RandomRetriever",
    "RetrievedDemonstration",
    "Retriever",
    "TwoStageRetriever",
]

_MOST = 10_000


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


class TwoStageRetriever(Live):
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
        self.k = check_count(k, "k", _MOST)
        self.pool = check_count(pool, "pool", _MOST)
        self.query_tokens = check_count(query_tokens, "query_tokens", _MOST)
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
        k = self.k if k is None else check_count(k, "k", _MOST)
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


class RandomRetriever:
    """Draws demonstrations at random: the baseline for retrieval.

    The same seed and prompt give the same draw.

    Args:
        source: a store, for its demonstrations with a chosen answer, or a sequence of demonstrations.
        k: the number of demonstrations to return.
        seed: the seed of the draw.
    """

    def __init__(
        self, source: DemonstrationStore | Sequence[Demonstration], k: int = 2, *, seed: int = 0
    ) -> None:
        self._source = source
        self._filter = None if isinstance(source, Sequence) else AnswerFilter(source)
        self.k = check_count(k, "k", _MOST)
        self.seed = seed

    def retrieve(
        self, prompt: Conversation, k: int | None = None, *, exclude: Collection[str] = ()
    ) -> list[RetrievedDemonstration]:
        """Returns k random demonstrations. See `Retriever.retrieve`."""
        text = search_text(as_conversation(prompt))
        k = self.k if k is None else check_count(k, "k", _MOST)
        excluded = {exclude} if isinstance(exclude, str) else set(exclude)
        digest = hashlib.sha256(f"{self.seed}\n{text}".encode()).digest()
        draw = random.Random(digest)  # noqa: S311
        if isinstance(self._source, Sequence):
            known = {item.id: item for item in self._source}
            ids = sorted(known.keys() - excluded)
            drawn = [known[id_] for id_ in draw.sample(ids, min(k, len(ids)))]
        else:
            where = None if self._filter is None else self._filter.where()
            ids = sorted(self._source.ids(where=where) - excluded)
            drawn = self._source.get(draw.sample(ids, min(k, len(ids))))
        return [RetrievedDemonstration(item) for item in drawn]


class FixedDemonstrations:
    """Returns the same given demonstrations for each prompt.

    Args:
        demonstrations: best first: the first is shown next to the question and is dropped last.
        k: the number of demonstrations to return; by default all.
    """

    def __init__(self, demonstrations: Sequence[Demonstration], k: int | None = None) -> None:
        self._demonstrations = tuple(demonstrations)
        self.k = k if k is None else check_count(k, "k", _MOST)

    def retrieve(
        self, prompt: Conversation, k: int | None = None, *, exclude: Collection[str] = ()
    ) -> list[RetrievedDemonstration]:
        """Returns the first k demonstrations. See `Retriever.retrieve`."""
        as_conversation(prompt)
        k = self.k if k is None else check_count(k, "k", _MOST)
        excluded = {exclude} if isinstance(exclude, str) else set(exclude)
        kept = [item for item in self._demonstrations if item.id not in excluded]
        return [RetrievedDemonstration(item) for item in kept[:k]]
