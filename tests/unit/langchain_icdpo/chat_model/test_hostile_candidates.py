"""Parsers of model text: they never raise, take linear time, and a hostile candidate never loses a good one."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.exceptions import OutputParserException
from pydantic import BaseModel

from icdpo_chains.errors import NoCandidateError
from icdpo_chains.tool_calls.json_answer import JsonAnswer
from icdpo_chains.tool_calls.json_text import read_json, without_fence
from langchain_icdpo import ChatICDPO
from langchain_icdpo.chat_model.tool_calls import ToolUse

from ...fake_core import make_core

SECONDS = 1.0  # a quadratic reader needs from 2 to more than 40 seconds for these texts


class Person(BaseModel):
    """A person."""

    name: str


ADA = '{"name": "Ada"}'
TOOL = {"type": "function", "function": {"name": "Person", "parameters": {"required": ["name"]}}}
CALL = '<tool_call>{"name": "Person", "arguments": {"name": "Ada"}}</tool_call>'
HOSTILE = {
    "brackets": "[" * 3_000,
    "nested lists": "[" * 3_000 + "]" * 3_000,
    "nested objects": '{"a":' * 3_000 + "1" + "}" * 3_000,
    "just below the limit of the reader": '{"a":' * 900 + "1" + "}" * 900,
    "spaces in a call": "<tool_call>a" + " " * 40_000,
    "spaces in a list of calls": "[TOOL_CALLS]a" + " " * 40_000 + "b",
    "line breaks in a fence": "```" + "\n" * 40_000,
    "line breaks in a json fence": "```json" + "\n" * 40_000 + "a```b",
    "spaces before a thought": " " * 40_000 + "<think>" * 5_000,
    "braces": "{" * 80_000,
    "closing and opening braces": "}" * 40_000 + "{" * 40_000,
    "openings": "<tool_call>" * 20_000,
    "deep arguments as text": '<tool_call>{"function": {"name": "Person", "arguments": "'
    + "[" * 3_000
    + '"}}</tool_call>',
    "a number of 10,000 digits": '{"name": ' + "9" * 10_000 + "}",
}


@pytest.fixture
def in_time() -> object:
    started = time.process_time()
    yield None
    assert time.process_time() - started < SECONDS


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_the_good_candidate_is_found_beside_a_hostile_one(text: str) -> None:
    answer = JsonAnswer(Person.model_json_schema())
    assert answer.fitting([text, ADA]) == [False, True]
    assert answer.fields(text)["content"]
    use = ToolUse([TOOL], "any")
    assert use.fitting([text, CALL]) == [False, True]
    assert use.fields(text)["tool_calls"] == []


@pytest.mark.parametrize("method", ["json_schema", "json_mode", "function_calling"])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_candidate_alone_is_one_kind_of_error(method: str, text: str) -> None:
    def model(*texts: str) -> ChatICDPO:
        core = make_core(list(texts), tools=True, n=len(texts))
        return ChatICDPO(icdpo=core, max_tokens=100_000)

    good = CALL if method == "function_calling" else ADA
    both = model(text, good).with_structured_output(Person, method=method)
    assert both.invoke("Who?") == Person(name="Ada")
    alone = model(text).with_structured_output(Person, method=method)
    started = time.process_time()
    with pytest.raises((OutputParserException, NoCandidateError)):  # the latter for an endless thought
        alone.invoke("Who?")
    assert time.process_time() - started < 10 * SECONDS


PIECES = st.sampled_from(
    [
        *("<tool_call>", "</tool_call>", "[TOOL_CALLS]", "```", "```json\n", "<think>", "</think>"),
        *("{", "}", "[", "]", '"', "\\", ":", ",", "1", "null", "\n", " ", "\u2028"),
        '{"name": "Person", "arguments": {',
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(PIECES | st.text(max_size=3), st.integers(1, 2_000)), max_size=6))
def test_no_text_makes_a_parser_raise_or_slow(parts: list[tuple[str, int]]) -> None:
    text = "".join(piece * count for piece, count in parts)
    started = time.process_time()
    for wanted in (JsonAnswer(), ToolUse([TOOL], "auto", answer=JsonAnswer())):
        wanted.fitting([text])
        wanted.fields(text)
    assert time.process_time() - started < SECONDS


def test_json_is_read_up_to_a_depth_of_a_hundred() -> None:
    assert read_json("[" * 100 + "1" + "]" * 100)
    with pytest.raises(ValueError, match="more than 100 levels"):
        read_json("[" * 101 + "]" * 101)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("```json\n{}\n```", "{}"),
        ("```\n{}```", "{}"),
        ("```python\n{}\n```", "```python\n{}\n```"),
        ("``````", "``````"),
        ("```", "```"),
        ("{}", "{}"),
    ],
)
def test_one_fence_around_the_whole_text_is_removed(text: str, content: str) -> None:
    assert without_fence(text) == content
