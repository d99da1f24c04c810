"""`RETRIEVERS`: the retrievers by their names in config files and comparisons."""

from __future__ import annotations

import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from icdpo_chains.demonstrations.answer_filter import AnswerFilter
from icdpo_chains.demonstrations.retriever import Retriever
from icdpo_chains.demonstrations.retrievers.bm25 import BM25Retriever
from icdpo_chains.demonstrations.retrievers.embeddings import EmbeddingRetriever
from icdpo_chains.demonstrations.retrievers.fixed import FixedDemonstrations
from icdpo_chains.demonstrations.retrievers.random import RandomRetriever
from icdpo_chains.demonstrations.retrievers.two_stage import TwoStageRetriever

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.demonstration import Demonstration
    from icdpo_chains.demonstrations.store import DemonstrationStore

__all__ = ["FIGURES", "RETRIEVERS", "RetrieverFactory", "RetrieverName"]

RetrieverName = Literal["two_stage", "bm25", "embeddings", "random", "fixed"]


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
    store: DemonstrationStore, k: int, *, pool: int = 20, seed: int = 0, **needs: Any
) -> Retriever:
    return TwoStageRetriever(store, k, pool, **needs)


def _bm25(store: DemonstrationStore, k: int, *, pool: int = 20, seed: int = 0, **needs: Any) -> Retriever:
    return BM25Retriever(store, k, **needs)


def _embeddings(
    store: DemonstrationStore, k: int, *, pool: int = 20, seed: int = 0, **needs: Any
) -> Retriever:
    return EmbeddingRetriever(store, k, **needs)


def _random(store: DemonstrationStore, k: int, *, pool: int = 20, seed: int = 0, **needs: Any) -> Retriever:
    return RandomRetriever(_usable(store, **needs), k, seed=seed)


def _fixed(store: DemonstrationStore, k: int, *, pool: int = 20, seed: int = 0, **needs: Any) -> Retriever:
    # The order depends only on the seed: it is the same for each question and for any order of insertion.
    demonstrations = sorted(_usable(store, **needs), key=lambda item: item.id)
    random.Random(seed).shuffle(demonstrations)  # noqa: S311
    return FixedDemonstrations(demonstrations, k)


def _usable(store: DemonstrationStore, **needs: Any) -> list[Demonstration]:
    return store.list(where=AnswerFilter(store, **needs).where())


RETRIEVERS: Mapping[str, RetrieverFactory] = MappingProxyType(
    {"two_stage": _two_stage, "bm25": _bm25, "embeddings": _embeddings, "random": _random, "fixed": _fixed}
)
"""By `RetrieverName`. `random` and `fixed` use the contents of the store at their construction."""

FIGURES: Mapping[str, tuple[RetrieverName, ...]] = MappingProxyType(
    {"min_similarity": ("two_stage", "bm25", "embeddings"), "min_bm25": ("two_stage", "bm25")}
)
"""The limits of a `Threshold`, and the retrievers that give the figure to compare with."""
