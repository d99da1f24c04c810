"""How tool calls are read from text, and which candidates are preferred."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from icdpo_chains import PlainFormat
from icdpo_chains.errors import PromptError
from langchain_icdpo import ChatICDPO
from langchain_icdpo.chat_model.tool_calls import ToolUse, tool_options

from ...fake_core import make_core


@tool
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


class Weather(BaseModel):
    """Tells the weather."""

    place: str


CALL = '{"name": "add", "arguments": {"a": 1, "b": 2}}'
OTHER = '{"name": "Weather", "arguments": {"place": "Oslo"}}'
ADDED = [("add", {"a": 1, "b": 2})]
USE = ToolUse(tool_options([add, Weather])["tools"], "auto")


@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        (f"<tool_call>\n{CALL}\n</tool_call>", "", ADDED),
        (f"So: <tool_call>{CALL}</tool_call>", "So:", ADDED),
        (f"<tool_call>{CALL}", "", ADDED),
        (f"<tool_call>{CALL}</tool_call><tool_call>{CALL}</tool_call>", "", ADDED * 2),
        (f"[TOOL_CALLS] [{CALL}]", "", ADDED),
        (CALL, "", ADDED),
        (f"[{CALL}]", "", ADDED),
        (f"```json\n{CALL}\n```", "", ADDED),
        (CALL.replace("arguments", "parameters"), "", ADDED),
        ('{"function": ' + CALL + ', "type": "function"}', "", ADDED),
        (json.dumps({"name": "add", "arguments": '{"a": 1, "b": 2}'}), "", ADDED),
        ('{"name": "add", "arguments": {"a": 1, "b": "x\ny"}}', "", [("add", {"a": 1, "b": "x\ny"})]),
        ("The sum is 3.", "The sum is 3.", []),
        ('{"answer": 3}', '{"answer": 3}', []),
        ("[]", "[]", []),
        ("{", "{", []),
    ],
)
def test_the_common_forms_are_read(text: str, content: str, calls: list[Any]) -> None:
    fields = USE.fields(text)
    assert fields["content"] == content
    assert [(call["name"], call["args"]) for call in fields["tool_calls"]] == calls
    assert fields["invalid_tool_calls"] == []
    assert len({call["id"] for call in fields["tool_calls"]}) == len(calls)


@pytest.mark.parametrize("broken", ["{", "3", '{"name": 1, "arguments": {}}', '{"name": "add"}', "[]"])
def test_a_call_that_can_not_be_read_is_kept_as_such(broken: str) -> None:
    fields = USE.fields(f"So: <tool_call>{broken}</tool_call>")
    assert fields["content"] == "So:"
    assert fields["tool_calls"] == []
    assert [call["args"] for call in fields["invalid_tool_calls"]] == [broken]


@given(st.text(), st.text())
def test_any_text_is_read(before: str, after: str) -> None:
    for text in (before, f"{before}<tool_call>{after}", f"{before}[TOOL_CALLS]{after}"):
        fields = USE.fields(text)
        assert AIMessage(**fields).content == fields["content"]
        assert USE.fitting([text]) in ([True], [False])
        if text == before and not set("<[{`") & set(text):
            assert fields["content"].strip() == text.strip()
            assert not fields["tool_calls"]


BLOCK = f"<tool_call>{CALL}</tool_call>"


@pytest.mark.parametrize(
    ("choice", "texts", "fitting"),
    [
        ("any", ["Hi.", BLOCK, OTHER], [False, True, True]),
        ("add", ["Hi.", BLOCK, OTHER], [False, True, False]),
        ("auto", ["Hi.", BLOCK, "Ho."], [True, False, True]),
        ("auto", ["Hi.", BLOCK, OTHER], [False, True, True]),
        ("auto", ["Hi.", BLOCK], [False, True]),
        ("auto", ["Hi.", "<tool_call>{</tool_call>"], [True, False]),
        ("any", ['{"name": "unknown", "arguments": {}}'], [False]),
        ("any", ['{"name": "add", "arguments": {"a": 1}}'], [False]),
    ],
)
def test_candidates_that_do_what_is_wanted(choice: str, texts: list[str], fitting: list[bool]) -> None:
    assert ToolUse(tool_options([add, Weather])["tools"], choice).fitting(texts) == fitting


def test_several_calls_can_be_refused() -> None:
    single = ToolUse(tool_options([add])["tools"], "any", parallel=False)
    assert single.fitting([BLOCK + BLOCK, BLOCK]) == [False, True]


@pytest.mark.parametrize(
    ("given", "choice"),
    [
        (None, "auto"),
        (False, "auto"),
        ("auto", "auto"),
        (True, "any"),
        ("required", "any"),
        ("any", "any"),
        ("none", "none"),
        ("add", "add"),
        ({"type": "function", "function": {"name": "add"}}, "add"),
        ({"type": "tool", "name": "add"}, "add"),
    ],
)
def test_every_way_to_choose(given: Any, choice: str) -> None:
    assert tool_options([add], given)["tool_choice"] == choice


def test_a_tool_that_is_not_there_can_not_be_chosen() -> None:
    with pytest.raises(ValueError, match=r"'sub' names no tool.*\['add'\]"):
        ChatICDPO(icdpo=make_core()).bind_tools([add], tool_choice="sub")


def chat(*responses: str) -> ChatICDPO:
    return ChatICDPO(icdpo=make_core(list(responses), tools=True, n=len(responses)))


def test_a_call_is_preferred_to_a_better_scored_answer() -> None:
    model = chat("I would be glad to help you.", BLOCK, "<tool_call>{</tool_call>")
    message = model.bind_tools([add], tool_choice="any").invoke("What is 1 + 2?")
    assert [(call["name"], call["args"]) for call in message.tool_calls] == ADDED
    table = message.response_metadata["icdpo"]
    assert table["selected"] == 1
    assert table["candidates"][0]["index"] != 1


def test_where_no_candidate_calls_the_best_answer_is_returned() -> None:
    message = chat("I would be glad to help you.", "No.").bind_tools([add], tool_choice="any").invoke("?")
    assert message.content == "I would be glad to help you."
    assert message.tool_calls == []


def test_the_model_is_shown_the_tools_and_told_when_to_call() -> None:
    seen: list[str] = []

    def respond(context: str) -> list[str]:
        seen.append(context)
        return [BLOCK]

    model = ChatICDPO(icdpo=make_core(respond, tools=True, n=1))
    model.bind_tools([add], tool_choice="add").invoke("1 + 2?")
    model.bind_tools([add]).invoke("1 + 2?")
    model.bind_tools([add], tool_choice="none").invoke("1 + 2?")
    assert ['"name": "add"' in context for context in seen] == [True, True, False]
    assert ["Answer by calling the tool add" in context for context in seen] == [True, False, False]
    counted = [
        model.get_num_tokens_from_messages([HumanMessage("Hi")], tools=tools) for tools in (None, [add])
    ]
    assert counted[1] > counted[0]


def test_streamed_calls_are_whole() -> None:
    chunks = list(chat(BLOCK, BLOCK).bind_tools([add]).stream("1 + 2?"))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert [(call["name"], call["args"]) for call in whole.tool_calls] == ADDED


async def test_a_batch_shows_the_tools_too() -> None:
    model = chat(BLOCK, BLOCK).bind_tools([add])
    for messages in (model.batch(["1 + 2?", "2 + 1?"]), await model.abatch(["1 + 2?", "2 + 1?"])):
        assert all(message.tool_calls for message in messages)


def test_the_plain_format_says_that_it_has_no_place_for_tools() -> None:
    core = make_core(tools=True)
    core.format = PlainFormat(core.policy.tokenizer)
    with pytest.raises(PromptError, match="PlainFormat has no place for tools"):
        ChatICDPO(icdpo=core).bind_tools([add]).invoke("1 + 2?")


def test_a_call_that_a_thought_considers_is_not_made() -> None:
    thought = f"<think>I could call <tool_call>{CALL}</tool_call>, but no.</think>"
    core = make_core((f"{thought}The sum is 3.",), tools=True, n=1)
    message = ChatICDPO(icdpo=core).bind_tools([add]).invoke("What is 1 + 2?")
    assert (message.tool_calls, message.text) == ([], "The sum is 3.")
    core = make_core((f"<think>It is {OTHER} or a sum.</think>{CALL}",), tools=True, n=1)
    message = ChatICDPO(icdpo=core).bind_tools([add]).invoke("What is 1 + 2?")
    assert [(call["name"], call["args"]) for call in message.tool_calls] == ADDED
    assert message.additional_kwargs["reasoning_content"] == f"It is {OTHER} or a sum."
