"""Demonstrations in LlamaIndex's vector stores, such as `ChromaVectorStore`, and back."""

from __future__ import annotations

from llama_index.core.vector_stores.types import BasePydanticVectorStore

from icdpo_chains.demonstrations.chroma.adding import AddReport
from icdpo_chains.demonstrations.chroma.records import embedding_text
from icdpo_chains.demonstrations.store import DemonstrationStore
from llama_index_icdpo.nodes import to_demonstration, to_node

__all__ = ["from_vector_store", "to_vector_store"]

_BATCH = 128


def to_vector_store(store: DemonstrationStore, vector_store: BasePydanticVectorStore) -> int:
    """Copies all demonstrations into a vector store, with the store's own embeddings; returns how many.

    Query it with the same embedder: `ICDPOEmbedding(store.embedder)`.

    Args:
        store: where they are.
        vector_store: any of LlamaIndex's that takes nodes, such as a `ChromaVectorStore` over another
            collection in the same Chroma.
    """
    demonstrations = list(store)
    for begin in range(0, len(demonstrations), _BATCH):
        batch = demonstrations[begin : begin + _BATCH]
        vectors = store.embed([embedding_text(item.messages) for item in batch])
        nodes = [to_node(item) for item in batch]
        for node, vector in zip(nodes, vectors.tolist(), strict=True):
            node.embedding = vector
        vector_store.add(nodes)
    return len(demonstrations)


def from_vector_store(vector_store: BasePydanticVectorStore, store: DemonstrationStore) -> AddReport:
    """Adds the demonstrations that a vector store holds to a store; those that are known, not twice.

    Args:
        vector_store: one that gives back its nodes (`get_nodes`), as `ChromaVectorStore` does. Each node is
            one of `to_vector_store`, or has the `chosen` answer in its metadata, and perhaps `rejected`.
        store: where they go; one that is open read-only is opened for writing meanwhile.

    Returns:
        How many were added, updated and unchanged.

    Raises:
        DemonstrationError: a node is no demonstration; nothing is added then.
        StoreError: the store can't be written.
    """
    demonstrations = [to_demonstration(node) for node in vector_store.get_nodes(node_ids=None)]
    with store.writable() as opened:
        return opened.add(demonstrations)
