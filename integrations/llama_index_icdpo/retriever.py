"""`DemonstrationRetriever`: demonstrations as a LlamaIndex retriever finds nodes."""

from __future__ import annotations

import threading
from pathlib import Path

from llama_index.core.callbacks import CallbackManager
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle

from icdpo_chains.defaults import default_retriever
from icdpo_chains.demonstrations.retrieval import Retriever
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.policies.sampling import check_count
from icdpo_chains.progress import in_thread
from llama_index_icdpo.nodes import to_node_with_score

__all__ = ["DemonstrationRetriever"]


class DemonstrationRetriever(BaseRetriever):
    """Finds the demonstrations whose prompts resemble a query, best first. No language model is loaded.

    A node's text is the demonstration's prompt and its id the demonstration's; the metadata hold `chosen`,
    `rejected` and both stages' scores, `bm25_score` and `similarity` (`None` where a stage had no part in
    it). The node's score is the similarity.

    Args:
        retriever: the core's object; by default two stages over the store.
        store: a demonstration store or the directory of one; by default what `ICDPO_STORE` says.
        k: how many; the retriever's own number where not given.
        callback_manager: LlamaIndex's.
        verbose: LlamaIndex's.

    Raises:
        ValueError: `store` beside `retriever`, or `k` out of range.
        TypeError: `retriever` is none.
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
            raise ValueError("store can't be changed in the retriever that was given: leave one of them out")
        if retriever is not None and not callable(getattr(retriever, "retrieve", None)):
            raise TypeError(
                f"retriever is a {type(retriever).__name__}, which can't `retrieve` demonstrations: give a "
                "TwoStageRetriever, RandomRetriever, FixedDemonstrations, or an object like them"
            )
        self.k = k if k is None else check_count(k, "k", 10_000)
        self._store = store
        self._core = retriever
        self._lock = threading.Lock()
        super().__init__(callback_manager=callback_manager, verbose=verbose)

    @property
    def core(self) -> Retriever:
        """The core's retriever; built at its first use."""
        with self._lock:
            if self._core is None:
                self._core = default_retriever(self._store)
            return self._core

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [to_node_with_score(found) for found in self.core.retrieve(query_bundle.query_str, self.k)]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await in_thread(self._retrieve, query_bundle)
