"""`create_icdpo_chain`: the same answer as `ChatICDPO`, in steps that can be seen and replaced."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda

from icdpo_chains import (
    DemonstrationStore,
    FixedDemonstrations,
    RandomRetriever,
    SamplingParams,
    TwoStageRetriever,
)
from icdpo_chains.errors import InvalidInputError, NoDemonstrationsError
from langchain_icdpo import ChatICDPO, create_icdpo_chain
from langchain_icdpo.question import to_question

from ..fake_core import DEMONSTRATIONS, KIND, RUDE, make_core

QUESTION = "I lost my keys."
RAG = {
    "input": "Where are {x}?",
    "context": [Document("Keys lie {in} the fridge."), Document("Cats sleep.")],
    "chat_history": [("human", "Hi"), ("ai", "Hello!")],
}


def timeless(message: AIMessage) -> dict[str, Any]:
    table = {**message.response_metadata["icdpo"], "timings": None}
    return {
        **message.model_dump(),
        "id": None,
        "response_metadata": {**message.response_metadata, "icdpo": table},
    }


@pytest.fixture(params=["store", "random", "fixed"])
def chat(request: pytest.FixtureRequest, store: DemonstrationStore) -> ChatICDPO:
    retriever: Any = {
        "store": TwoStageRetriever(store, require_rejected=True),
        "random": RandomRetriever(DEMONSTRATIONS),
        "fixed": FixedDemonstrations(DEMONSTRATIONS),
    }[request.param]
    core = make_core((), retriever=retriever, sampling=SamplingParams(max_new_tokens=20))
    return ChatICDPO(icdpo=core, seed=5, n=3, k=2)


@pytest.mark.parametrize("value", [QUESTION, {"input": QUESTION}, [HumanMessage(QUESTION)], RAG], ids=type)
async def test_it_equals_the_chat_model_with_the_same_seed(chat: ChatICDPO, value: Any) -> None:
    chain = create_icdpo_chain(chat)
    expected = timeless(chat.invoke(to_question(value)))
    assert timeless(chain.invoke(value)) == expected
    assert timeless(await chain.ainvoke(value)) == expected
    assert [timeless(message) for message in chain.batch([value, value])] == [expected] * 2
    assert "".join((chain | StrOutputParser()).stream(value)) == expected["content"]


def test_each_step_is_traced_under_its_name() -> None:
    class Listener(BaseCallbackHandler):
        def __init__(self) -> None:
            self.outputs: dict[str, Any] = {}
            self.names: dict[Any, str] = {}

        def on_chain_start(
            self, serialized: Any, inputs: Any, *, run_id: Any, name: str = "", **kwargs: Any
        ) -> None:
            self.names[run_id] = name

        def on_chain_end(self, outputs: Any, *, run_id: Any, **kwargs: Any) -> None:
            self.outputs[self.names[run_id]] = outputs

        def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
            self.outputs["retriever"] = documents

    listener = Listener()
    answer = create_icdpo_chain(ChatICDPO(icdpo=make_core())).invoke(QUESTION, {"callbacks": [listener]})
    steps = ["ask", "retrieve_demonstrations", "sample_candidates", "rerank_candidates", "icdpo"]
    assert [name for name in listener.names.values() if name in steps] == ["icdpo", *steps[:-1]]
    assert listener.outputs["retrieve_demonstrations"] == listener.outputs["retriever"]
    assert [answer.text for answer in listener.outputs["sample_candidates"].answers] == [RUDE, KIND]
    assert listener.outputs["icdpo"] == answer


def test_the_prompt_can_be_replaced() -> None:
    seen: list[str] = []

    def respond(context: str) -> list[str]:
        seen.append(context)
        return [KIND]

    prompt = ChatPromptTemplate.from_messages([("system", "Use: {context}"), ("human", "{input}")])
    chain = create_icdpo_chain(ChatICDPO(icdpo=make_core(respond)), prompt=prompt)
    assert chain.invoke(RAG | {"context": "{facts}"}).content == KIND
    assert "Use: {facts}" in seen[0]


def test_the_retriever_can_be_replaced() -> None:
    documents = [Document("Bye", metadata={"chosen": "Farewell.", "rejected": "Go."})]
    asked: list[str] = []

    def find(query: str) -> list[Document]:
        asked.append(query)
        return documents

    answer = create_icdpo_chain(ChatICDPO(icdpo=make_core()), retriever=find).invoke(RAG)
    assert asked == ["Hi\nHello!\nWhere are {x}?"]
    assert len(answer.response_metadata["icdpo"]["demonstrations"]) == 1


async def test_the_sampler_can_be_a_model_behind_an_api() -> None:
    metadata = {"model_name": "api"}
    model = FakeListChatModel(responses=[RUDE, KIND])

    def sample(state: Any) -> list[AIMessage]:
        messages = [model.invoke(state["messages"]) for _ in range(2)]
        return [message.model_copy(update={"response_metadata": metadata}) for message in messages]

    chain = create_icdpo_chain(ChatICDPO(icdpo=make_core(["never said"])), sampler=sample)
    for answer in (chain.invoke(QUESTION), await chain.ainvoke(QUESTION)):
        assert answer.content == KIND
        assert answer.response_metadata["model_name"] == "api"
        assert [c["text"] for c in answer.response_metadata["icdpo"]["candidates"]] == [KIND, RUDE]
        assert answer.response_metadata["icdpo"]["selected"] == 1
    assert metadata == {"model_name": "api"}
    texts = create_icdpo_chain(ChatICDPO(icdpo=make_core()), sampler=RunnableLambda(lambda _: [RUDE, KIND]))
    assert texts.invoke(QUESTION).content == KIND


def test_the_reranker_can_be_replaced() -> None:
    chain = create_icdpo_chain(
        ChatICDPO(icdpo=make_core()), reranker=lambda state: max(a.text for a in state["candidates"].answers)
    )
    assert chain.invoke(QUESTION) == max(KIND, RUDE)


def test_settings_build_a_chat_model_and_do_not_change_a_given_one() -> None:
    answer = create_icdpo_chain(icdpo=make_core(), n=5).invoke(QUESTION)
    assert len(answer.response_metadata["icdpo"]["candidates"]) == 5
    with pytest.raises(ValueError, match="n and chat are both given"):
        create_icdpo_chain(ChatICDPO(icdpo=make_core()), n=5)


def test_bad_input_is_told_by_the_step_that_reads_it() -> None:
    chain = create_icdpo_chain(ChatICDPO(icdpo=make_core()))
    with pytest.raises(InvalidInputError, match="'input' is missing"):
        chain.invoke({"question": QUESTION})
    with pytest.raises(InvalidInputError, match="blank"):
        chain.invoke({"input": "", "context": "x"})
    empty = create_icdpo_chain(ChatICDPO(icdpo=make_core()), retriever=lambda _: [])
    with pytest.raises(NoDemonstrationsError):
        empty.invoke(QUESTION)
