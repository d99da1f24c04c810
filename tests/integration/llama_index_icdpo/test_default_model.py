"""LlamaIndex's own entry points, on the default model, with a real Chroma on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import chromadb
import pytest
from llama_index.core import Document, Settings, StorageContext, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.vector_stores.chroma import ChromaVectorStore

from icdpo_chains import ICDPO, TransformersPolicy
from llama_index_icdpo import (
    ICDPOLLM,
    DemonstrationRetriever,
    ICDPOEmbedding,
    ICDPOSynthesizer,
    ICDPOWorkflow,
    InstantScoreRerank,
)

FACTS = [
    "The library opens at nine in the morning and closes at six in the evening.",
    "A library card is free for everybody who lives in the town.",
    "Books may be kept for four weeks. A book that comes back late costs ten cents a day.",
]
QUESTION = "How long may I keep a book?"


@pytest.fixture(scope="module")
def core(policy: TransformersPolicy, starter_store: Path) -> ICDPO:
    return ICDPO.from_defaults(policy, store=starter_store)


@pytest.fixture
def llm(core: ICDPO) -> ICDPOLLM:
    return ICDPOLLM(icdpo=core, n=2, max_tokens=16, temperature=0.7, seed=1)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VectorStoreIndex:
    """Documents that went through an ingestion pipeline into Chroma on disk."""
    client = chromadb.PersistentClient(tmp_path_factory.mktemp("documents"))
    vector_store = ChromaVectorStore(
        chroma_collection=client.create_collection("documents", embedding_function=None)
    )
    embedding = ICDPOEmbedding()
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(chunk_size=128, chunk_overlap=0), embedding],
        vector_store=vector_store,
    )
    pipeline.run(documents=[Document(text=text) for text in FACTS])
    return VectorStoreIndex.from_vector_store(vector_store, embed_model=embedding)


async def read(response: Any) -> str:
    if hasattr(response, "async_response_gen"):
        return "".join([piece async for piece in response.async_response_gen()])
    return "".join(response.response_gen) if hasattr(response, "response_gen") else str(response)


@pytest.mark.slow
@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
async def test_a_query_engine_with_synthesizer_and_reranker(
    index: VectorStoreIndex, llm: ICDPOLLM, streaming: bool
) -> None:
    engine = index.as_query_engine(
        llm=llm,
        similarity_top_k=2,
        node_postprocessors=[InstantScoreRerank(icdpo=llm.core, top_n=1)],
        response_synthesizer=ICDPOSynthesizer(llm, streaming=streaming),
    )
    response, again = engine.query(QUESTION), await engine.aquery(QUESTION)
    answer = await read(response)
    assert answer.strip()
    assert await read(again) == answer
    assert len(response.source_nodes) == 1
    table = response.metadata["icdpo"]  # type: ignore[index]
    assert len(table["candidates"]) == 2
    assert len(table["demonstrations"]) == 2
    assert json.dumps(table)


@pytest.mark.slow
def test_a_plain_query_engine_and_a_chat_engine(index: VectorStoreIndex, llm: ICDPOLLM) -> None:
    """As users of any other LLM build them, by the global settings."""
    Settings.llm = llm
    try:
        assert str(index.as_query_engine(similarity_top_k=1).query(QUESTION)).strip()
        engine = index.as_chat_engine(chat_mode="context", similarity_top_k=1, system_prompt="Be brief.")
        assert str(engine.chat(QUESTION)).strip()
        assert "".join(engine.stream_chat("And a late one?").response_gen).strip()
        assert [message.role.value for message in engine.chat_history] == ["user", "assistant"] * 2
    finally:
        Settings._llm = None


@pytest.mark.slow
async def test_every_way_to_the_answer_gives_the_same(core: ICDPO, llm: ICDPOLLM) -> None:
    expected = core.generate(QUESTION, **llm.options()).text
    assert llm.complete(QUESTION).text == expected
    assert (await llm.acomplete(QUESTION)).text == expected
    assert (await ICDPOWorkflow(llm).run(input=QUESTION)).text == expected


def test_demonstrations_are_retrieved_as_the_core_does(core: ICDPO) -> None:
    nodes = DemonstrationRetriever(core.retriever, k=2).retrieve("How do I apologise to a friend?")
    found = core.retrieve("How do I apologise to a friend?", k=2)
    assert [item.node.node_id for item in nodes] == [item.demonstration.id for item in found]


def test_documents_and_demonstrations_in_one_index(core: ICDPO, tmp_path: Path) -> None:
    """An index that LlamaIndex builds itself, over a collection next to the demonstrations."""
    client = chromadb.PersistentClient(tmp_path)
    store = ChromaVectorStore(
        chroma_collection=client.create_collection("documents", embedding_function=None)
    )
    context = StorageContext.from_defaults(vector_store=store)
    built = VectorStoreIndex.from_documents(
        [Document(text=text) for text in FACTS], storage_context=context, embed_model=ICDPOEmbedding()
    )
    (found,) = built.as_retriever(similarity_top_k=1).retrieve(QUESTION)
    assert found.node.get_content() == FACTS[2]
