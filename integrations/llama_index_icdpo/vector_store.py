"""Copies demonstrations to LlamaIndex's vector stores, such as `ChromaVectorStore`, and back."""

from __future__ import annotations

from llama_index.core.vector_stores.types import BasePydanticVectorStore

from icdpo_chains.demonstrations.chroma.adding import AddReport
from icdpo_chains.demonstrations.chroma.records import embedding_text
from icdpo_chains.demonstrations.store import DemonstrationStore
from llama_index_icdpo.nodes import to_demonstration, to_node

__all__ = ["from_vector_store", "to_vector_store"]

_BATCH = 128


def to_vector_store(store: DemonstrationStore, vector_store: BasePydanticVectorStore) -> int:
    """Copies all demonstrations with their embeddings to a vector store; returns their number.

    Query it with the same embedder: `ICDPOEmbedding(store.embedder)`.

    Args:
        store: the source.
        vector_store: any LlamaIndex vector store that takes nodes, such as a `ChromaVectorStore` over another
            collection of the same Chroma.
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
    """Adds the demonstrations of a vector store to a store; known demonstrations are not added twice.

    Args:
        vector_store: a store with `get_nodes`, such as `ChromaVectorStore`. Each node comes from
            `to_vector_store`, or has the `chosen` answer in its metadata, and perhaps `rejected`.
        store: the target; a store that is open read-only is opened for writing meanwhile.

    Returns:
        The numbers of added, updated and unchanged demonstrations.

    Raises:
        DemonstrationError: a node is not a demonstration; then nothing is added.
        StoreError: the store can't be written.
    """
    demonstrations = [to_demonstration(node) for node in vector_store.get_nodes(node_ids=None)]
    with store.writable() as opened:
        return opened.add(demonstrations)
