"""`ICDPOEmbedding`: the core's embedder as a LlamaIndex embedding model."""

from __future__ import annotations

from typing import Any

from llama_index.core.embeddings import BaseEmbedding
from pydantic import Field

from icdpo_chains.demonstrations.embedding import Embedder, SentenceTransformerEmbedder, embed_checked
from icdpo_chains.foundation.picklable import PicklableSettings
from icdpo_chains.progress import in_thread

__all__ = ["ICDPOEmbedding"]


class ICDPOEmbedding(PicklableSettings, BaseEmbedding):
    """A LlamaIndex embedding model over the core's embedder: one model for documents and demonstrations.

    Attributes:
        embedder: the core's object; by default all-MiniLM-L6-v2, fetched once and then offline.
    """

    embedder: Any = Field(default_factory=SentenceTransformerEmbedder, exclude=True, repr=False)

    def __init__(self, embedder: Embedder | None = None, **settings: Any) -> None:
        embedder = embedder or SentenceTransformerEmbedder()
        super().__init__(**{"model_name": embedder.name, **settings, "embedder": embedder})

    @classmethod
    def class_name(cls) -> str:
        """Returns the name under which LlamaIndex serializes it."""
        return "ICDPOEmbedding"

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = embed_checked(self.embedder, texts).tolist()
        return vectors

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await in_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await in_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await in_thread(self._get_text_embeddings, texts)
