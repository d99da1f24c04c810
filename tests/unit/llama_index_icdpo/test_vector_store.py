"""Demonstrations in a real `ChromaVectorStore`, and back."""

from __future__ import annotations

from pathlib import Path

import chromadb
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.vector_stores.chroma import ChromaVectorStore

from icdpo_chains import Demonstration, DemonstrationStore, FakeEmbedder, Message
from icdpo_chains.errors import DemonstrationError
from llama_index_icdpo import ICDPOEmbedding, from_vector_store, to_vector_store

from ..fake_core import DEMONSTRATIONS

TURNS = Demonstration(
    [
        Message("system", "s"),
        Message("user", "Hi {x}"),
        Message("assistant", "Ho"),
        Message("user", "And\0?"),
    ],
    "good",
    metadata={"deep": {"n": [1]}, "topic": "é"},
)


@pytest.fixture
def vector_store(store: DemonstrationStore) -> ChromaVectorStore:
    """Another collection in the very Chroma that keeps the demonstrations."""
    client = chromadb.PersistentClient(store.path)  # type: ignore[arg-type]
    collection = client.create_collection("nodes", embedding_function=None)
    return ChromaVectorStore(chroma_collection=collection)


def test_there_and_back(store: DemonstrationStore, vector_store: ChromaVectorStore, tmp_path: Path) -> None:
    store.add([TURNS])
    assert to_vector_store(store, vector_store) == 4
    assert to_vector_store(store, vector_store) == 4, "twice does no harm"
    with DemonstrationStore(tmp_path / "other", embedder=FakeEmbedder()) as other:
        assert from_vector_store(vector_store, other).added == 4
        assert from_vector_store(vector_store, other).unchanged == 4
        assert sorted(other, key=lambda item: item.id) == sorted(store, key=lambda item: item.id)
        assert other.get(TURNS.id)[0].metadata == TURNS.metadata


def test_llama_index_searches_what_was_copied(
    store: DemonstrationStore, vector_store: ChromaVectorStore
) -> None:
    to_vector_store(store, vector_store)
    index = VectorStoreIndex.from_vector_store(vector_store, embed_model=ICDPOEmbedding(store.embedder))
    (found,) = index.as_retriever(similarity_top_k=1).retrieve("my keys?")
    assert found.node.node_id == DEMONSTRATIONS[2].id
    assert found.node.metadata["chosen"] == DEMONSTRATIONS[2].chosen


def test_a_node_that_is_no_demonstration_changes_nothing(
    store: DemonstrationStore, vector_store: ChromaVectorStore
) -> None:
    vector_store.add([TextNode(id_="n1", text="A document.", embedding=[0.0] * 63 + [1.0])])
    with pytest.raises(DemonstrationError, match="node n1 is not a demonstration"):
        from_vector_store(vector_store, store)
    assert len(store) == len(DEMONSTRATIONS)
