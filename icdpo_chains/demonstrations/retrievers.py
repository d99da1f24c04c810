"""`RETRIEVERS`: the retrievers by name, as config files and comparisons speak of them."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol

from icdpo_chains.demonstrations.chroma.records import embedding_text
from icdpo_chains.demonstrations.retrieval import (
    FixedDemonstrations,
    RandomRetriever,
    RetrievedDemonstration,
    Retriever,
    TwoStageRetriever,
)
from icdpo_chains.demonstrations.sides import AnswerFilter
from icdpo_chains.messages import Conversation, as_conversation
from icdpo_chains.validation import check_count

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.demonstration import Demonstration
    from icdpo_chains.demonstrations.store import DemonstrationStore

__all__ = ["RETRIEVERS", "BM25Retriever", "EmbeddingRetriever", "RetrieverFactory", "RetrieverName"]

RetrieverName = Literal["two_stage", "bm25", "embeddings", "random", "fixed"]

_MOST = 10_000


class BM25Retriever:
    """The first of the two stages alone: in the order of BM25.

    Where fewer than k prompts share a word with the question, embeddings fill up, as they do with two stages.

    Args:
        store: where demonstrations are kept.
        k: how many are returned.
        require_chosen: only demonstrations that have a chosen answer.
        require_rejected: only demonstrations that have a rejected answer.
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
        # Its pool is never smaller than k: with k of them nothing is left for the second stage to choose.
        self._stages = TwoStageRetriever(
            store, k, pool=1, require_chosen=require_chosen, require_rejected=require_rejected
        )

    def retrieve(
        self, prompt: Conversation, k: int | None = None, *, exclude: Collection[str] = ()
    ) -> list[RetrievedDemonstration]:
        """Returns the k best demonstrations by BM25, best first. See `Retriever.retrieve`."""
        found = self._stages.retrieve(prompt, k, exclude=exclude)
        return sorted(found, key=lambda item: -(item.bm25_score or 0))


class EmbeddingRetriever:
    """The second of the two stages alone: the nearest prompts of the whole store by embeddings.

    Args:
        store: where demonstrations are kept.
        k: how many are returned.
        require_chosen: only demonstrations that have a chosen answer.
        require_rejected: only demonstrations that have a rejected answer.
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
        self.k = check_count(k, "k", _MOST)
        self._filter = AnswerFilter(store, require_chosen=require_chosen, require_rejected=require_rejected)

    def retrieve(
        self, prompt: Conversation, k: int | None = None, *, exclude: Collection[str] = ()
    ) -> list[RetrievedDemonstration]:
        """Returns the k nearest demonstrations, nearest first. See `Retriever.retrieve`."""
        messages = as_conversation(prompt)
        k = self.k if k is None else check_count(k, "k", _MOST)
        excluded = {exclude} if isinstance(exclude, str) else set(exclude)
        vector = self.store.embed([embedding_text(messages)])[0]
        where = self._filter.where()  # sees what others wrote
        nearest = self.store.nearest(vector, k + len(excluded), where=where)
        similarity = dict([pair for pair in nearest if pair[0] not in excluded][:k])
        return [
            RetrievedDemonstration(item, similarity=similarity[item.id])
            for item in self.store.get(list(similarity))
        ]


class RetrieverFactory(Protocol):
    """Builds a retriever over a store."""

    def __call__(
        self,
        store: DemonstrationStore,
        k: int,
        *,
        pool: int = 20,
        require_chosen: bool = True,
        require_rejected: bool = False,
        seed: int = 0,
    ) -> Retriever:
        """Builds it.

        Args:
            store: where demonstrations are kept.
            k: how many are returned, unless a call says otherwise.
            pool: how many the first of two stages passes on.
            require_chosen: only demonstrations that have a chosen answer.
            require_rejected: only demonstrations that have a rejected answer.
            seed: of what is drawn.
        """
        ...


def _two_stage(
    store: DemonstrationStore,
    k: int,
    *,
    pool: int = 20,
    require_chosen: bool = True,
    require_rejected: bool = False,
    seed: int = 0,
) -> Retriever:
    return TwoStageRetriever(store, k, pool, require_chosen=require_chosen, require_rejected=require_rejected)


def _bm25(
    store: DemonstrationStore,
    k: int,
    *,
    pool: int = 20,
    require_chosen: bool = True,
    require_rejected: bool = False,
    seed: int = 0,
) -> Retriever:
    return BM25Retriever(store, k, require_chosen=require_chosen, require_rejected=require_rejected)


def _embeddings(
    store: DemonstrationStore,
    k: int,
    *,
    pool: int = 20,
    require_chosen: bool = True,
    require_rejected: bool = False,
    seed: int = 0,
) -> Retriever:
    return EmbeddingRetriever(store, k, require_chosen=require_chosen, require_rejected=require_rejected)


def _random(
    store: DemonstrationStore,
    k: int,
    *,
    pool: int = 20,
    require_chosen: bool = True,
    require_rejected: bool = False,
    seed: int = 0,
) -> Retriever:
    return RandomRetriever(_usable(store, require_chosen, require_rejected), k, seed=seed)


def _fixed(
    store: DemonstrationStore,
    k: int,
    *,
    pool: int = 20,
    require_chosen: bool = True,
    require_rejected: bool = False,
    seed: int = 0,
) -> Retriever:
    # In an order of the seed alone: the same for each question, and however the store was filled.
    demonstrations = sorted(_usable(store, require_chosen, require_rejected), key=lambda item: item.id)
    random.Random(seed).shuffle(demonstrations)  # noqa: S311
    return FixedDemonstrations(demonstrations, k)


def _usable(store: DemonstrationStore, require_chosen: bool, require_rejected: bool) -> list[Demonstration]:
    where = AnswerFilter(store, require_chosen=require_chosen, require_rejected=require_rejected).where()
    return store.list(where=where)


RETRIEVERS: Mapping[str, RetrieverFactory] = MappingProxyType(
    {"two_stage": _two_stage, "bm25": _bm25, "embeddings": _embeddings, "random": _random, "fixed": _fixed}
)
"""By `RetrieverName`. `random` and `fixed` know what the store held when they were built."""
