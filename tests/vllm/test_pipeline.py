"""ICDPO, a LangChain chain and a LlamaIndex query engine on vLLM and a Chroma server, unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core import Document, VectorStoreIndex

from icdpo_chains import (
    ICDPO,
    Demonstration,
    DemonstrationStore,
    FixedDemonstrations,
    SamplingParams,
    starter_demonstrations,
)
from icdpo_chains.policies.vllm.policy import VLLMPolicy
from langchain_icdpo import ChatICDPO, create_icdpo_chain
from llama_index_icdpo import ICDPOLLM, ICDPOEmbedding, ICDPOSynthesizer, InstantScoreRerank
from tests.chroma_server import ChromaServer

from .server import RunningVLLM

QUESTION = "How long may I keep a book?"
SHORT: dict[str, Any] = {"n": 2, "max_tokens": 16, "seed": 1}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemonstrationStore]:
    """The starter set on a Chroma server of its own."""
    server = ChromaServer(tmp_path_factory.mktemp("chroma"))
    try:
        server.start()
        with DemonstrationStore.connect(port=server.port) as store:
            store.add(starter_demonstrations())
            yield store
    finally:
        server.kill()


@pytest.fixture(scope="module")
def core(policy: VLLMPolicy, store: DemonstrationStore) -> ICDPO:
    return ICDPO.from_defaults(policy, store=store)


def test_icdpo_answers_and_a_batch_at_once(policy: VLLMPolicy, demonstrations: list[Demonstration]) -> None:
    icdpo = ICDPO(policy, FixedDemonstrations(demonstrations, k=2), n=3)
    sampling = SamplingParams(max_new_tokens=24, seed=2)
    result = icdpo.generate("How do I apologise to a friend?", sampling=sampling)
    assert result.text.strip()
    assert len(result.candidates) == 3
    scores = [candidate.score for candidate in result.candidates]
    assert scores == sorted(scores, reverse=True)
    many = icdpo.generate_batch([QUESTION, "What is the sky?", "Who are you?"], sampling=sampling)
    assert [len(each.candidates) for each in many] == [3, 3, 3]


async def test_a_cancelled_answer_is_not_sampled_any_further(
    vllm: RunningVLLM, policy: VLLMPolicy, demonstrations: list[Demonstration]
) -> None:
    icdpo = ICDPO(policy, FixedDemonstrations(demonstrations, k=1), n=4)
    long = SamplingParams(max_new_tokens=1200, min_new_tokens=1200)
    before = vllm.metric("vllm:generation_tokens_total")
    task = asyncio.create_task(icdpo.agenerate("Tell me everything.", sampling=long))
    while vllm.metric("vllm:num_requests_running") < 4:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(600):
        if vllm.metric("vllm:num_requests_running") == 0:
            break
        await asyncio.sleep(0.1)
    assert vllm.metric("vllm:num_requests_running") == 0
    assert vllm.metric("vllm:generation_tokens_total") - before < 2400, "half of it was sampled all the same"


def test_a_langchain_chain(core: ICDPO) -> None:
    chat = ChatICDPO(icdpo=core, **SHORT)
    answer = create_icdpo_chain(chat).invoke(QUESTION)
    assert answer.text.strip()
    assert len(answer.response_metadata["icdpo"]["candidates"]) == 2
    assert len(chat.batch([QUESTION, "What is a library?"])) == 2


def test_a_llama_index_query_engine(core: ICDPO) -> None:
    facts = [
        "The library opens at nine in the morning and closes at six in the evening.",
        "Books may be kept for four weeks. A book that comes back late costs ten cents a day.",
    ]
    index = VectorStoreIndex.from_documents(
        [Document(text=fact) for fact in facts], embed_model=ICDPOEmbedding()
    )
    llm = ICDPOLLM(icdpo=core, temperature=0.7, **SHORT)
    engine = index.as_query_engine(
        llm=llm,
        similarity_top_k=2,
        node_postprocessors=[InstantScoreRerank(icdpo=llm.core, top_n=1)],
        response_synthesizer=ICDPOSynthesizer(llm),
    )
    response = engine.query(QUESTION)
    assert str(response).strip()
    assert len(response.metadata["icdpo"]["candidates"]) == 2  # type: ignore[index]
