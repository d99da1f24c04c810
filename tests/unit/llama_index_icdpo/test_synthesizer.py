"""`ICDPOSynthesizer` in query engines."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core import Document, PromptTemplate, Settings, VectorStoreIndex
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import BaseSynthesizer
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from icdpo_chains.errors import InvalidInputError
from llama_index_icdpo import ICDPOLLM, ICDPOSynthesizer, InstantScoreRerank

from ..fake_core import KIND, RUDE, make_core
from .conftest import Events

QUERY = "Where are {my} keys?"
NODES = [
    NodeWithScore(node=TextNode(text=text, id_=text[:4]), score=0.5)
    for text in ("Keys {lie} here.", "Cats sleep.")
]


@pytest.fixture
def contexts() -> list[str]:
    return []


@pytest.fixture
def llm(contexts: list[str]) -> ICDPOLLM:
    def respond(context: str) -> list[str]:
        contexts.append(context)
        return [RUDE, KIND]

    return ICDPOLLM(icdpo=make_core(respond))


async def read(response: Any) -> str:
    if hasattr(response, "async_response_gen"):
        return "".join([piece async for piece in response.async_response_gen()])
    return "".join(response.response_gen) if hasattr(response, "response_gen") else str(response)


async def ask(synthesizer: ICDPOSynthesizer, nodes: Any, *, sync: bool, **options: Any) -> tuple[str, Any]:
    if sync:
        response = synthesizer.synthesize(QUERY, nodes, **options)
    else:
        response = await synthesizer.asynthesize(QueryBundle(QUERY), nodes, **options)
    return await read(response), response


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
async def test_the_answer_is_the_best_of_n_over_the_documents(
    llm: ICDPOLLM, contexts: list[str], streaming: bool, sync: bool
) -> None:
    synthesizer = ICDPOSynthesizer(llm, streaming=streaming)
    text, response = await ask(synthesizer, NODES, sync=sync, additional_source_nodes=NODES[:1])
    assert text == KIND
    assert response.source_nodes == [*NODES, NODES[0]]
    assert [item["text"] for item in response.metadata["icdpo"]["candidates"]] == [KIND, RUDE]
    assert response.metadata["Keys"] == {}
    assert contexts[0].endswith(
        "<|im_start|>system\nAnswer from the following documents. If they do not hold the answer, say so.\n\n"
        "Keys {lie} here.\n\nCats sleep.<|im_end|>\n"
        "<|im_start|>user\nWhere are {my} keys?<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
async def test_empty_retrieval_is_answered_as_configured(
    llm: ICDPOLLM, contexts: list[str], streaming: bool, sync: bool
) -> None:
    text, _ = await ask(ICDPOSynthesizer(llm, streaming=streaming), [], sync=sync)
    assert text == "I found no document that could answer this."
    text, _ = await ask(ICDPOSynthesizer(llm, streaming=streaming, empty_response="Nope."), [], sync=sync)
    assert text == "Nope."
    assert not contexts
    text, response = await ask(ICDPOSynthesizer(llm, streaming=streaming, empty_response=None), [], sync=sync)
    assert text == KIND
    assert response.source_nodes == []
    assert response.metadata["icdpo"]["selected"] == 1
    assert "following documents" not in contexts[0]


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
async def test_one_candidate_is_streamed_as_it_is_sampled(sync: bool) -> None:
    synthesizer = ICDPOSynthesizer(ICDPOLLM(icdpo=make_core([KIND]), n=1), streaming=True)
    text, response = await ask(synthesizer, NODES, sync=sync)
    assert text == KIND
    assert [item["text"] for item in response.metadata["icdpo"]["candidates"]] == [KIND]


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
@pytest.mark.parametrize("empty", [False, True], ids=["documents", "none"])
async def test_events_are_seen_once(llm: ICDPOLLM, events: Events, sync: bool, empty: bool) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    synthesizer = ICDPOSynthesizer(llm, callback_manager=CallbackManager([debug]), empty_response=None)
    await ask(synthesizer, [] if empty else NODES, sync=sync)
    names = ("SynthesizeStartEvent", "SynthesizeEndEvent", "LLMChatStartEvent", "LLMChatEndEvent")
    assert events.count(*names) == dict.fromkeys(names, 1)
    assert [len(pair) for pair in debug.get_event_pairs(CBEventType.LLM)] == [2]


def test_the_prompt_can_be_changed(llm: ICDPOLLM, contexts: list[str]) -> None:
    engine = RetrieverQueryEngine(
        VectorStoreIndex.from_documents([Document(text="A fact.")]).as_retriever(), ICDPOSynthesizer(llm)
    )
    assert "response_synthesizer:text_qa_template" in engine.get_prompts()
    template = PromptTemplate("Given {context_str}: {query_str}")
    engine.update_prompts({"response_synthesizer:text_qa_template": template})
    engine.query(QUERY)
    assert "<|im_start|>user\nGiven A fact.: Where are {my} keys?<|im_end|>" in contexts[0]


async def test_in_a_query_engine_of_an_index(llm: ICDPOLLM) -> None:
    index = VectorStoreIndex.from_documents(
        [Document(text=RUDE), Document(text=KIND), Document(text="Keys.")]
    )
    engine = index.as_query_engine(
        llm=llm,
        response_synthesizer=ICDPOSynthesizer(llm),
        node_postprocessors=[InstantScoreRerank(icdpo=llm.core, top_n=1)],
        similarity_top_k=3,
    )
    for response in (engine.query(QUERY), await engine.aquery(QUERY)):
        assert str(response) == KIND
        assert [item.node.get_content() for item in response.source_nodes] == [KIND]


def test_settings_of_a_call(llm: ICDPOLLM) -> None:
    response = ICDPOSynthesizer(llm).synthesize(QUERY, NODES, n=5)
    assert len(response.metadata["icdpo"]["candidates"]) == 5  # type: ignore[index]


def test_which_llm_is_used(llm: ICDPOLLM) -> None:
    assert BaseSynthesizer in ICDPOSynthesizer.__mro__
    Settings.llm = llm
    assert ICDPOSynthesizer()._llm is llm
    with pytest.raises(TypeError, match="llm is a MockLLM"):
        ICDPOSynthesizer(MockLLM())  # type: ignore[arg-type]


def test_a_blank_query_is_a_clear_error(llm: ICDPOLLM) -> None:
    with pytest.raises(InvalidInputError, match="blank"):
        ICDPOSynthesizer(llm).synthesize(" ", NODES)
