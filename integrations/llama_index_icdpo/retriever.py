"""`DemonstrationRetriever`: a LlamaIndex retriever of demonstrations."""

from __future__ import annotations

import threading
from pathlib import Path

from llama_index.core.callbacks import CallbackManager
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle

from icdpo_chains.defaults import default_retriever
from icdpo_chains.demonstrations.retriever import MAX_DEMONSTRATIONS, Retriever
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.foundation.process_local import ProcessLocal
from icdpo_chains.foundation.validation import check_count
from icdpo_chains.progress import in_thread
from llama_index_icdpo.nodes import to_node_with_score

__all__ = ["DemonstrationRetriever"]


class DemonstrationRetriever(ProcessLocal, BaseRetriever):
    """Finds the demonstrations whose prompts resemble a query, best first; loads no language model.

    A node has the demonstration's prompt as its text and the demonstration's id as its id. The metadata have
    `chosen`, `rejected` and the scores of both stages, `bm25_score` and `similarity` (`None` for a stage that
    took no part). The node's score is the similarity.

    Args:
        retriever: the core's retriever; by default a `TwoStageRetriever` over the store.
        store: a demonstration store or its directory; by default the value of `ICDPO_STORE`.
        k: the number of demonstrations; by default that of the retriever.
        callback_manager: LlamaIndex's.
        verbose: LlamaIndex's.

    Raises:
        ValueError: both `store` and `retriever` are given, or `k` is out of range.
        TypeError: `retriever` is not a retriever.
    """

    def __init__(
        self,
        retriever: Retriever | None = None,
        *,
        store: str | Path | DemonstrationStore | None = None,
        k: int | None = None,
        callback_manager: CallbackManager | None = None,
        verbose: bool = False,
    ) -> None:
        if retriever is not None and store is not None:
            raise ValueError(
                "store and retriever are both given, and a retriever has its own store: leave one of them out"
            )
        if retriever is not None and not callable(getattr(retriever, "retrieve", None)):
            raise TypeError(
                f"retriever is a {type(retriever).__name__}, which has no method `retrieve`: give a "
                "TwoStageRetriever, RandomRetriever, FixedDemonstrations, or an object with their protocol"
            )
        self.k = k if k is None else check_count(k, "k", MAX_DEMONSTRATIONS)
        self._store = store
        self._core = retriever
        self._lock = threading.Lock()
        super().__init__(callback_manager=callback_manager, verbose=verbose)

    @property
    def core(self) -> Retriever:
        """The core's retriever, built at its first use."""
        with self._lock:
            if self._core is None:
                self._core = default_retriever(self._store)
            return self._core

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [to_node_with_score(found) for found in self.core.retrieve(query_bundle.query_str, self.k)]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await in_thread(self._retrieve, query_bundle)
