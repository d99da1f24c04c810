"""`with_structured_output`: three methods, three kinds of schema."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import HumanMessage
from pydantic import BaseModel, Field

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.messages import search_text
from icdpo_chains.tool_calls.json_answer import JsonAnswer
from langchain_icdpo import ChatICDPO

from ...fake_core import DEMONSTRATIONS, make_core


class Person(BaseModel):
    """A person."""

    name: str = Field(description="the first name")
    age: int


class PersonDict(TypedDict):
    """A person."""

    name: str
    age: int


ADA = '{"name": "Ada", "age": 36}'
CALL = '<tool_call>{"name": "Person", "arguments": {"name": "Ada", "age": 36}}</tool_call>'
GLAD = "I would be glad to help you look for them."


def chat(*responses: str) -> ChatICDPO:
    return ChatICDPO(icdpo=make_core(list(responses), tools=True, n=len(responses)))


@pytest.mark.parametrize("method", ["json_schema", "json_mode", "function_calling"])
@pytest.mark.parametrize(
    "schema", [Person, PersonDict, Person.model_json_schema()], ids=["pydantic", "dict", "json"]
)
async def test_every_method_gives_every_kind(method: str, schema: Any) -> None:
    if method == "function_calling" and schema is PersonDict:
        model = chat(GLAD, CALL.replace("Person", "PersonDict"))
    else:
        model = chat(GLAD, CALL if method == "function_calling" else f"Here: {ADA} Enjoy!")
    expected: Any = Person(name="Ada", age=36) if schema is Person else {"name": "Ada", "age": 36}
    runnable = model.with_structured_output(schema, method=method)
    assert runnable.invoke("Who?") == expected
    assert await runnable.ainvoke("Who?") == expected
    assert runnable.batch(["Who?", "Who else?"]) == [expected] * 2
    raw: Any = model.with_structured_output(schema, method=method, include_raw=True).invoke("Who?")
    assert raw["parsed"] == expected
    assert raw["parsing_error"] is None
    assert raw["raw"].response_metadata["icdpo"]["selected"] == 1


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_where_no_candidate_fits_the_parser_says_so(method: str) -> None:
    model = chat(GLAD, "No.")
    with pytest.raises(OutputParserException):
        model.with_structured_output(Person, method=method).invoke("Who?")
    raw: Any = model.with_structured_output(Person, method=method, include_raw=True).invoke("Who?")
    assert raw["parsed"] is None
    assert isinstance(raw["parsing_error"], OutputParserException)
    assert raw["raw"].content == GLAD


def test_candidates_that_fit_the_schema_are_preferred_to_other_json() -> None:
    model = chat('{"name": "Ada"}', '{"name": "Ada", "age": "old"}', ADA)
    assert model.with_structured_output(Person).invoke("Who?") == Person(name="Ada", age=36)


def test_the_model_is_told_the_schema_and_retrieval_does_not_look_at_it() -> None:
    seen: list[str] = []

    def respond(context: str) -> list[str]:
        seen.append(context)
        return [ADA]

    asked: list[Any] = []

    class Retriever:
        def retrieve(self, prompt: Any, k: int | None = None, *, exclude: Any = ()) -> list[Any]:
            asked.append(prompt)
            return make_core().retriever.retrieve("?", 1)

    model = ChatICDPO(icdpo=make_core(respond, retriever=Retriever(), n=1))
    model.with_structured_output(Person).invoke("Who?")
    assert '"description": "the first name"' in seen[0]
    assert "fits this JSON schema" in seen[0]
    assert search_text(asked[0]) == "Who?"
    assert DEMONSTRATIONS[0].chosen in seen[0]


@pytest.mark.parametrize(
    "wrong", [{"method": "guess"}, {"method": "json_schema", "tools": []}, {"unknown": 1}], ids=str
)
def test_an_unknown_method_or_option(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="use method= one of 'json_schema'"):
        chat(ADA).with_structured_output(Person, **wrong)


def test_response_format_as_openai_has_it() -> None:
    model = chat(GLAD, f"```json\n{ADA}\n```")
    assert model.invoke("Who?", response_format={"type": "json_object"}).content == ADA
    with pytest.raises(InvalidInputError, match="response_format 'json' is unknown"):
        model.invoke("Who?", response_format="json")


def test_tools_and_a_schema_together() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "Person", "schema": Person.model_json_schema()}}
    asking = '<tool_call>{"name": "look_up", "arguments": {}}</tool_call>'
    tool = {"type": "function", "function": {"name": "look_up", "description": "d", "parameters": {}}}
    bound: dict[str, Any] = {"tools": [tool], "response_format": schema}
    message = chat(GLAD, ADA, "{}").invoke("Who?", **bound)
    assert (message.content, message.tool_calls) == (ADA, [])
    message = chat(asking, ADA, asking).invoke("Who?", **bound)
    assert [call["name"] for call in message.tool_calls] == ["look_up"]


@pytest.mark.parametrize(
    ("schema", "text", "fits"),
    [
        ({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, '{"a": 1}', True),
        (
            {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
            '{"a": true}',
            False,
        ),
        ({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, "{}", False),
        ({"properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}, '{"a": null}', True),
        ({"properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}, '{"a": 2}', False),
        ({"properties": {"a": {"enum": ["x", "y"]}}}, '{"a": "z"}', False),
        ({"properties": {"a": {"type": "array", "items": {"type": "number"}}}}, '{"a": [1, 2.5]}', True),
        ({"properties": {"a": {"type": "array", "items": {"type": "number"}}}}, '{"a": ["1"]}', False),
        ({"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "string"}}}, '{"a": 1}', False),
        ({"properties": {"a": {"$ref": "#/nowhere"}}}, '{"a": 1}', True),
        ({}, "[1]", False),
        ({}, "{", False),
    ],
)
def test_what_fits_a_schema(schema: dict[str, Any], text: str, fits: bool) -> None:
    assert JsonAnswer(schema).fitting([text]) == [fits]


def test_a_draft_in_the_thought_is_not_the_answer() -> None:
    draft = '<think>{"name": "Eve", "age": 1} or {</think>{"name": "Ada", "age": 36}'
    core = make_core((draft,), n=1)
    schema = {
        "title": "Person",
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
    }
    answer = ChatICDPO(icdpo=core).with_structured_output(schema).invoke("Who?")
    assert answer == {"name": "Ada", "age": 36}


def test_an_agent_asks_for_json_without_a_template_for_tools() -> None:
    class Height(BaseModel):
        metres: int

    chat = ChatICDPO(icdpo=make_core(["no JSON", '{"metres": 3}'], n=2))
    agent = create_agent(chat, response_format=Height)
    assert agent.invoke({"messages": [HumanMessage("How high?")]})["structured_response"] == Height(metres=3)
