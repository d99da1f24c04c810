"""`ICDPOEmbedding`: the core's embedder in LlamaIndex."""

from __future__ import annotations

import numpy as np
import pytest
from llama_index.core import Document
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter

from icdpo_chains import FakeEmbedder
from icdpo_chains.errors import StoreError
from llama_index_icdpo import ICDPOEmbedding


async def test_vectors_are_the_embedders() -> None:
    embedder = FakeEmbedder()
    model = ICDPOEmbedding(embedder)
    expected = embedder.embed(["one two", "three"]).tolist()
    assert model.get_text_embedding_batch(["one two", "three"]) == expected
    assert await model.aget_text_embedding_batch(["one two", "three"]) == expected
    assert model.get_query_embedding("three") == expected[1]
    assert await model.aget_query_embedding("three") == expected[1]
    assert model.model_name == "fake-embedder"
    assert "embedder" not in model.to_dict()


def test_in_an_ingestion_pipeline() -> None:
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(chunk_size=64, chunk_overlap=0), ICDPOEmbedding(FakeEmbedder())]
    )
    (node,) = pipeline.run(documents=[Document(text="Keys lie here.")])
    assert np.linalg.norm(node.embedding) == pytest.approx(1, abs=1e-5)


def test_an_embedder_that_returns_nonsense() -> None:
    class Broken(FakeEmbedder):
        def embed(self, texts):
            return super().embed(texts) * np.nan

    with pytest.raises(StoreError, match="not finite"):
        ICDPOEmbedding(Broken()).get_text_embedding("x")


def test_the_default_is_the_packaged_one_and_is_not_loaded_yet() -> None:
    assert ICDPOEmbedding().model_name == "all-minilm-l6-v2"
