"""`DemonstrationRetriever`: a LangChain retriever of demonstrations."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field, model_validator
from typing_extensions import Self

from icdpo_chains.defaults import default_retriever
from icdpo_chains.demonstrations.retriever import MAX_DEMONSTRATIONS, Retriever
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.foundation.picklable import PicklableSettings
from icdpo_chains.foundation.validation import check_count
from icdpo_chains.progress import in_thread
from langchain_icdpo.documents import to_document

__all__ = ["DemonstrationRetriever"]

_building = threading.Lock()


class DemonstrationRetriever(PicklableSettings, BaseRetriever):
    """Finds the demonstrations whose prompts resemble a query, best first; loads no language model.

    A document has the demonstration's prompt as its text and the demonstration's id as its id. The metadata
    hold `prompt`, `chosen`, `rejected`, the demonstration's own `metadata`, and the scores of both stages,
    `bm25_score` and `similarity` (`None` for a stage that took no part).

    Attributes:
        retriever: the core's retriever; by default a `TwoStageRetriever` over the store.
        store: a demonstration store or its directory; by default the value of `ICDPO_STORE`.
        k: the number of demonstrations; by default that of the retriever. Also `invoke(query, k=...)`.

    Raises:
        ValueError: a setting is out of range, or both `store` and `retriever` are given.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    retriever: Any = Field(default=None, exclude=True, repr=False)
    store: str | Path | DemonstrationStore | None = Field(default=None, exclude=True)
    k: int | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.retriever is not None and self.store is not None:
            raise ValueError(
                "store and retriever are both given, and a retriever has its own store: leave one of them out"
            )
        if self.retriever is not None and not callable(getattr(self.retriever, "retrieve", None)):
            raise ValueError(
                f"retriever is a {type(self.retriever).__name__}, which has no method `retrieve`: "
                "give a TwoStageRetriever, RandomRetriever, FixedDemonstrations, or an object with their "
                "protocol"
            )
        if self.k is not None:
            check_count(self.k, "k", MAX_DEMONSTRATIONS)
        return self

    @property
    def core(self) -> Retriever:
        """The core's retriever, built at its first use."""
        with _building:
            if self._built is None:
                self._built = self.retriever or default_retriever(self.store)
            built: Retriever = self._built
            return built

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        found = self.core.retrieve(query, self.k if k is None else k)
        return [to_document(item) for item in found]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        found = await in_thread(lambda: self.core.retrieve(query, self.k if k is None else k))
        return [to_document(item) for item in found]
