"""`DemonstrationRetriever`: demonstrations as a LangChain retriever finds documents."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field, PrivateAttr, model_validator
from typing_extensions import Self

from icdpo_chains.defaults import default_retriever
from icdpo_chains.demonstrations.retrieval import Retriever
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.progress import in_thread
from icdpo_chains.validation import check_count
from langchain_icdpo.documents import to_document

__all__ = ["DemonstrationRetriever"]


class DemonstrationRetriever(BaseRetriever):
    """Finds the demonstrations whose prompts resemble a query, best first. No language model is loaded.

    A document's text is the demonstration's prompt and its id the demonstration's; the metadata hold
    `prompt`, `chosen`, `rejected`, the demonstration's own `metadata`, and both stages' scores, `bm25_score`
    and `similarity` (`None` where a stage had no part in it).

    Attributes:
        retriever: the core's object; by default two stages over the store.
        store: a demonstration store or the directory of one; by default what `ICDPO_STORE` says.
        k: how many; the retriever's own number where not given. Also `invoke(query, k=...)`.

    Raises:
        ValueError: a setting out of range, or `store` beside `retriever`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    retriever: Any = Field(default=None, exclude=True, repr=False)
    store: str | Path | DemonstrationStore | None = Field(default=None, exclude=True)
    k: int | None = None

    _built: Retriever | None = PrivateAttr(default=None)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.retriever is not None and self.store is not None:
            raise ValueError("store can't be changed in the retriever that was given: leave one of them out")
        if self.retriever is not None and not callable(getattr(self.retriever, "retrieve", None)):
            raise ValueError(
                f"retriever is a {type(self.retriever).__name__}, which can't `retrieve` demonstrations: "
                "give a TwoStageRetriever, RandomRetriever, FixedDemonstrations, or an object like them"
            )
        if self.k is not None:
            check_count(self.k, "k", 10_000)
        return self

    @property
    def core(self) -> Retriever:
        """The core's retriever; built at its first use."""
        with self._lock:
            if self._built is None:
                self._built = self.retriever or default_retriever(self.store)
            return self._built

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
