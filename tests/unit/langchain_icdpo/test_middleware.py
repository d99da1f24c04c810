"""`ICDPOMiddleware` within LangChain's agents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from icdpo_chains import ICDPO
from langchain_icdpo import ChatICDPO, ICDPOMiddleware, create_icdpo_tool

from ..fake_core import DEMONSTRATIONS, KIND, RUDE, make_core

QUESTION = {"messages": [HumanMessage("I lost my keys.")]}
SEARCH = AIMessage("", tool_calls=[{"name": "search", "args": {"place": "fridge"}, "id": "1"}])


class Scripted(GenericFakeChatModel):
    """Says what it is told, word by word where it streams; remembers what it was asked."""

    asked: list[list[BaseMessage]]

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(**kwargs)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        self.asked.append(messages)
        return super()._generate(messages, *args, **kwargs)


def scripted(*messages: AIMessage | str | Exception) -> Scripted:
    def says() -> Iterator[AIMessage | str]:
        for message in messages:
            if isinstance(message, Exception):
                raise message
            yield message

    return Scripted(messages=says(), asked=[])


@tool
def search(place: str) -> str:
    """Looks for the keys in a place."""
    return f"no keys in the {place}"


def agent(model: Any, core: ICDPO, **options: Any) -> Any:
    middleware = ICDPOMiddleware(core, **{"n": 2, **options})
    return create_agent(model, [search], middleware=[middleware])


def test_a_final_answer_is_the_best_of_n_and_the_state_shows_it(core: ICDPO) -> None:
    model = scripted(RUDE, KIND)
    state = agent(model, core).invoke(QUESTION)
    assert [message.text for message in state["messages"]] == ["I lost my keys.", KIND]
    assert len(model.asked) == 2
    table = state["icdpo"]
    assert [item["text"] for item in table["candidates"]] == [KIND, RUDE]
    assert table["selected"] == 1
    assert table["demonstrations"] == [item.id for item in DEMONSTRATIONS[:2]]
    assert state["messages"][-1].response_metadata["icdpo"] == table


async def test_async_is_the_same(core: ICDPO) -> None:
    state = await agent(scripted(RUDE, KIND), core).ainvoke(QUESTION)
    assert state["messages"][-1].text == KIND
    assert state["icdpo"]["candidates"][0]["text"] == KIND


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_a_tool_call_passes_after_one_call_of_the_model(core: ICDPO, way: str) -> None:
    model = scripted(SEARCH, RUDE, KIND)
    agent_ = agent(model, core)
    state = agent_.invoke(QUESTION) if way == "sync" else await agent_.ainvoke(QUESTION)
    assert [message.type for message in state["messages"]] == ["human", "ai", "tool", "ai"]
    assert state["messages"][2].content == "no keys in the fridge"
    assert state["messages"][-1].text == KIND
    assert len(model.asked) == 3


def test_a_later_candidate_that_calls_a_tool_is_not_an_answer(core: ICDPO) -> None:
    state = agent(scripted(RUDE, SEARCH, KIND), core, n=3).invoke(QUESTION)
    assert [item["text"] for item in state["icdpo"]["candidates"]] == [KIND, RUDE]


def test_a_structured_response_passes(core: ICDPO) -> None:
    class Place(BaseModel):
        name: str

    model = scripted(AIMessage("", tool_calls=[{"name": "Place", "args": {"name": "fridge"}, "id": "1"}]))
    structured = create_agent(
        model, response_format=ToolStrategy(Place), middleware=[ICDPOMiddleware(core, n=3)]
    )
    state = structured.invoke(QUESTION)
    assert state["structured_response"] == Place(name="fridge")
    assert "icdpo" not in state
    assert len(model.asked) == 1


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_losing_candidates_never_appear_in_a_stream(core: ICDPO, way: str) -> None:
    agent_ = agent(scripted(SEARCH, RUDE, KIND), core)
    if way == "sync":
        streamed = [message for message, _ in agent_.stream(QUESTION, stream_mode="messages")]
    else:
        streamed = [message async for message, _ in agent_.astream(QUESTION, stream_mode="messages")]
    assert [message.text for message in streamed] == ["", "no keys in the fridge", KIND]


async def test_nor_token_by_token_in_an_event_stream(core: ICDPO) -> None:
    agent_ = agent(scripted(RUDE, KIND), core)
    events = [event async for event in agent_.astream_events(QUESTION, version="v2")]
    assert not [event for event in events if event["event"] == "on_chat_model_stream"]
    quiet = [event for event in events if event["event"] == "on_chat_model_end"]
    assert all("nostream" in event["tags"] for event in quiet)
    assert len(quiet) == 2


def test_the_models_own_stream_would_show_them(core: ICDPO) -> None:
    """The control: without the middleware the same agent streams word by word."""
    plain = create_agent(scripted(RUDE), [search])
    streamed = [message for message, _ in plain.stream(QUESTION, stream_mode="messages")]
    assert sum(isinstance(message, AIMessageChunk) for message in streamed) > 3


def test_demonstrations_may_be_put_into_the_request_and_not_into_the_state(core: ICDPO) -> None:
    model = scripted(RUDE, KIND)
    state = agent(model, core, show_demonstrations=True).invoke(QUESTION)
    contents = [message.content for message in model.asked[0]]
    assert contents == [
        DEMONSTRATIONS[1].prompt,
        DEMONSTRATIONS[1].chosen,
        DEMONSTRATIONS[0].prompt,
        DEMONSTRATIONS[0].chosen,
        "I lost my keys.",
    ]
    assert model.asked[0] == model.asked[1]
    assert len(state["messages"]) == 2


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_a_candidate_that_fails_is_only_missing(
    core: ICDPO, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    agent_ = agent(scripted(KIND, RuntimeError("overloaded")), core)
    state = agent_.invoke(QUESTION) if way == "sync" else await agent_.ainvoke(QUESTION)
    assert state["messages"][-1].text == KIND
    assert len(state["icdpo"]["candidates"]) == 1
    assert "overloaded" in caplog.text
    with pytest.raises(RuntimeError, match="overloaded"):
        agent(scripted(RuntimeError("overloaded")), core).invoke(QUESTION)


@pytest.mark.parametrize("kept", ["last turn on", "last turn alone"])
def test_a_conversation_too_long_for_the_policy_is_scored_at_its_end(kept: str) -> None:
    core = make_core(policy_context=900)
    long = "x" * 2000
    if kept == "last turn on":
        messages = [HumanMessage(long), AIMessage("Hm."), HumanMessage("I lost my keys.")]
        state = agent(scripted(RUDE, KIND), core).invoke({"messages": messages})
    else:
        state = agent(scripted(AIMessage(long, tool_calls=SEARCH.tool_calls), RUDE, KIND), core).invoke(
            QUESTION
        )
    assert state["messages"][-1].text == KIND
    expected = core.score("I lost my keys.", [KIND]).best.score
    assert kept == "last turn on" or state["icdpo"]["candidates"][0]["score"] == expected


def test_the_local_model_may_drive_the_agent_itself() -> None:
    call = '<tool_call>{"name": "search", "arguments": {"place": "fridge"}}</tool_call>'

    def respond(context: str) -> list[str]:
        return [RUDE, KIND] if "no keys in the fridge" in context else [call]

    core = make_core(respond, tools=True)
    state = agent(ChatICDPO(icdpo=core), core).invoke(QUESTION)
    assert [message.type for message in state["messages"]] == ["human", "ai", "tool", "ai"]
    assert state["messages"][-1].text == KIND


def test_the_tool_within_an_agent_does_not_speak_for_it(core: ICDPO) -> None:
    ask = AIMessage("", tool_calls=[{"name": "aligned_answer", "args": {"question": "Hm?"}, "id": "1"}])
    model = scripted(ask, "Done.").model_copy(update={"disable_streaming": True})
    agent_ = create_agent(model, [create_icdpo_tool(icdpo=core)])
    streamed = [message for message, _ in agent_.stream(QUESTION, stream_mode="messages")]
    assert [message.type for message in streamed if message.text == KIND] == ["tool"]


@pytest.mark.parametrize("settings", [{"n": 0}, {"n": True}, {"k": 0}], ids=str)
def test_wrong_settings(settings: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        ICDPOMiddleware(**settings)


IMAGE = {"type": "image", "url": "https://x/y.png"}
HISTORIES: dict[str, list[BaseMessage]] = {
    "image": [HumanMessage([{"type": "text", "text": "What is this?"}, IMAGE])],
    "image alone": [
        HumanMessage([{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}])
    ],
    "PDF": [HumanMessage([{"type": "text", "text": "Sum up."}, {"type": "file", "base64": "aGk="}])],
    "search": [
        HumanMessage("Search."),
        AIMessage([{"type": "web_search_call", "id": "1"}, {"type": "text", "text": "Found."}]),
        HumanMessage("More."),
    ],
    "server's tool": [
        HumanMessage("Search."),
        AIMessage([{"type": "server_tool_call", "id": "1", "name": "search", "args": {}}]),
        HumanMessage("More."),
    ],
    "refusal": [
        HumanMessage("Do."),
        AIMessage([{"type": "refusal", "refusal": "No."}]),
        HumanMessage("Why?"),
    ],
    "image of a tool": [
        HumanMessage("Look."),
        AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "1"}]),
        ToolMessage([IMAGE], tool_call_id="1"),
    ],
}


@pytest.mark.parametrize("history", [[AIMessage("Hello.")], [HumanMessage(" ")]])
async def test_an_answer_to_no_question_passes(
    history: list[BaseMessage], core: ICDPO, caplog: pytest.LogCaptureFixture
) -> None:
    answer = agent(scripted(RUDE, KIND), core, show_demonstrations=True).invoke({"messages": history})
    assert answer["messages"][-1].text == RUDE
    same = await agent(scripted(RUDE, KIND), core).ainvoke({"messages": history})
    assert same["messages"][-1].text == RUDE
    assert caplog.text.count("passes unscored") == 2


@pytest.mark.parametrize("name", HISTORIES)
def test_parts_other_than_text_do_not_end_the_agent(
    name: str, core: ICDPO, caplog: pytest.LogCaptureFixture
) -> None:
    answer = agent(scripted(RUDE, KIND), core).invoke({"messages": HISTORIES[name]})
    assert answer["messages"][-1].text == KIND
    assert ("the scoring model can't see" in caplog.text) == (
        name in ("image", "image alone", "PDF", "image of a tool")
    )


def test_every_candidate_is_traced(core: ICDPO) -> None:
    class Listener(BaseCallbackHandler):
        ended = 0

        def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
            self.ended += 1

    listener = Listener()
    agent(scripted(RUDE, KIND), core).invoke(QUESTION, {"callbacks": [listener]})
    assert listener.ended == 2


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_thoughts_without_an_answer_do_not_end_the_agent(
    core: ICDPO, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    cut = [f"<think>{KIND}", f"<think>{RUDE}</think>"]
    asked = agent(scripted(*cut), core)
    state = await asked.ainvoke(QUESTION) if way == "ainvoke" else asked.invoke(QUESTION)
    assert state["messages"][-1].text == cut[0]
    assert "passes unscored: no candidate has an answer after its thought" in caplog.text
    state = agent(scripted(cut[0], f"<think>{RUDE}</think>{KIND}"), core).invoke(QUESTION)
    assert state["messages"][-1].text == f"<think>{RUDE}</think>{KIND}"
