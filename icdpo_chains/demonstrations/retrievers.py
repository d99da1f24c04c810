"""`RETRIEVERS`: the retrievers by their names in config files and comparisons."""

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
            store: the demonstrations.
            k: the default number of demonstrations.
            pool: the number of results of the first of two stages.
            require_chosen: only demonstrations with a chosen answer.
            require_rejected: only demonstrations with a rejected answer.
            seed: the seed of random draws.
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
    # The order depends only on the seed: it is the same for each question and for any order of insertion.
    demonstrations = sorted(_usable(store, require_chosen, require_rejected), key=lambda item: item.id)
    random.Random(seed).shuffle(demonstrations)  # noqa: S311
    return FixedDemonstrations(demonstrations, k)


def _usable(store: DemonstrationStore, require_chosen: bool, require_rejected: bool) -> list[Demonstration]:
    where = AnswerFilter(store, require_chosen=require_chosen, require_rejected=require_rejected).where()
    return store.list(where=where)


RETRIEVERS: Mapping[str, RetrieverFactory] = MappingProxyType(
    {"two_stage": _two_stage, "bm25": _bm25, "embeddings": _embeddings, "random": _random, "fixed": _fixed}
)
"""By `RetrieverName`. `random` and `fixed` use the contents of the store at their construction."""
