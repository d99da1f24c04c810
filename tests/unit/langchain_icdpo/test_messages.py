"""From LangChain's messages to the core's, and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.prompt_values import ChatPromptValue, StringPromptValue

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.messages import Message
from icdpo_chains.tool_calls.tool_call import ToolCall
from langchain_icdpo.messages import from_conversation, to_conversation

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("value", "conversation"),
    [
        ("Hi {x}", [Message("user", "Hi {x}")]),
        (StringPromptValue(text="Hi"), [Message("user", "Hi")]),
        (ChatPromptValue(messages=[HumanMessage("Hi")]), [Message("user", "Hi")]),
        (HumanMessage("Hi"), [Message("user", "Hi")]),
        ([("system", "S"), ("human", "H")], [Message("system", "S"), Message("user", "H")]),
        ([{"role": "user", "content": "Hi"}], [Message("user", "Hi")]),
        ([ChatMessage("D", role="developer")], [Message("system", "D")]),
        ([HumanMessage(["a", {"type": "text", "text": "b"}])], [Message("user", "ab")]),
        ([HumanMessage("Hi", name="Ada")], [Message("user", "Ada: Hi")]),
        ([AIMessageChunk("Hi")], [Message("assistant", "Hi")]),
        ([ToolMessage("3", tool_call_id="1")], [Message("tool", "3", tool_call_id="1")]),
        ([FunctionMessage("3", name="add")], [Message("tool", "3", name="add")]),
        (
            [AIMessage([{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "Yes"}])],
            [Message("assistant", "Yes")],
        ),
        (
            [AIMessage("So:", tool_calls=[{"name": "add", "args": {"a": "é"}, "id": "1"}])],
            [Message("assistant", "So:", (ToolCall("add", {"a": "é"}, "1"),))],
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_form_of_a_prompt(value: Any, conversation: list[Message]) -> None:
    assert list(to_conversation(value)) == conversation


@pytest.mark.parametrize("value", [None, 7, b"Hi", [object()], [("wizard", "Hi")], {"input": "Hi"}])
def test_what_is_no_prompt(value: Any) -> None:
    with pytest.raises(InvalidInputError):
        to_conversation(value)


@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), TEXT)))
def test_back_and_forth(turns: list[tuple[Any, str]]) -> None:
    conversation = [Message(role, text) for role, text in turns]
    assert list(to_conversation(from_conversation(conversation))) == conversation


def test_calls_and_results_go_back_and_forth() -> None:
    conversation = [
        Message("user", "1 + 2?"),
        Message("assistant", "So:", (ToolCall("add", {"a": 1, "b": 2}, "c1"),)),
        Message("tool", "3", tool_call_id="c1", name="add"),
    ]
    assert list(to_conversation(from_conversation(conversation))) == conversation


def test_a_tools_result_without_its_call_is_told_by_the_user() -> None:
    (message,) = from_conversation([Message("tool", "3")])
    assert isinstance(message, HumanMessage)
    assert message.content == "Result of a tool: 3"


def test_nothing_is_modified() -> None:
    messages: list[BaseMessage] = [
        SystemMessage("S"),
        HumanMessage([{"type": "text", "text": "b"}], name="Ada"),
    ]
    before = [message.model_copy(deep=True) for message in messages]
    to_conversation(messages)
    assert messages == before


def test_for_scoring_other_parts_are_named() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    messages = [
        HumanMessage([{"type": "text", "text": "Look: "}, image, {"type": "audio", "base64": "AA=="}]),
        AIMessage([{"type": "image", "url": "x"}, {"type": "refusal", "refusal": "No."}]),
    ]
    assert [turn.content for turn in to_conversation(messages, text_only=True)] == [
        "Look: [image][audio]",
        "No.",
    ]
    assert (
        to_conversation([messages[0], AIMessage([{"type": "refusal", "refusal": "No."}])][1:])[0].content
        == "No."
    )
    for message in messages:
        with pytest.raises(InvalidInputError, match="the model reads text only"):
            to_conversation([message])
