"""`ICDPOLLM` as a function calling LLM, and within LlamaIndex's agents."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent, ToolCallResult
from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock, ToolCallBlock
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from icdpo_chains.errors import PromptError
from llama_index_icdpo import ICDPOLLM
from tests.unit.fake_core import KIND, RUDE, make_core


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def weather(city: str) -> str:
    """Tells the weather."""
    return f"rain in {city}"


TOOLS = [FunctionTool.from_defaults(add), FunctionTool.from_defaults(weather)]


def call(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


ADD = call("add", '{"a": 2, "b": 3}')


def llm(*responses: str, **options: Any) -> ICDPOLLM:
    return ICDPOLLM(icdpo=make_core(list(responses), tools=True, n=len(responses)), **options)


def made(response: Any) -> list[tuple[str, dict[str, Any]]]:
    return [
        (block.tool_name, block.tool_kwargs)
        for block in response.message.blocks
        if isinstance(block, ToolCallBlock)
    ]


def test_it_says_whether_its_template_takes_tools() -> None:
    assert llm(KIND).metadata.is_function_calling_model
    plain = ICDPOLLM(icdpo=make_core())
    assert not plain.metadata.is_function_calling_model
    with pytest.raises(PromptError, match="no place for tools"):
        plain.chat_with_tools(TOOLS, "Add 2 and 3.")


def test_a_call_is_a_block() -> None:
    model = llm(f"Let me see. {ADD}", ADD, KIND)
    response = model.chat_with_tools(TOOLS, "Add 2 and 3.")
    assert made(response) == [("add", {"a": 2, "b": 3})]
    (selected,) = model.get_tool_calls_from_response(response)
    assert (selected.tool_name, selected.tool_kwargs) == ("add", {"a": 2, "b": 3})
    assert selected.tool_id.startswith("call_")
    assert "tool_call>" not in (response.message.content or "")
    assert len(response.additional_kwargs["icdpo"]["candidates"]) == 3


@pytest.mark.parametrize(
    ("responses", "options", "names"),
    [
        ([ADD, KIND, KIND], {}, []),  # the majority answers
        ([ADD, KIND, KIND], {"tool_required": True}, ["add"]),
        ([ADD, call("weather", '{"city": "Rome"}')], {"tool_choice": "weather"}, ["weather"]),
        ([call("add", '{"a": 2}'), ADD], {"tool_required": True}, ["add"]),  # an argument is missing
        ([call("fly", "{}"), KIND], {}, []),  # no such tool
        ([ADD + ADD, ADD], {"allow_parallel_tool_calls": False}, ["add"]),
        ([ADD + ADD], {"allow_parallel_tool_calls": True}, ["add", "add"]),
        ([ADD], {"tool_choice": "none"}, []),
    ],
)
def test_which_candidate_is_taken(responses: list[str], options: dict[str, Any], names: list[str]) -> None:
    response = llm(*responses).chat_with_tools(TOOLS, "Add 2 and 3.", **options)
    assert [name for name, _ in made(response)] == names


def test_no_call_is_an_error_or_an_answer() -> None:
    model = llm(RUDE, KIND)
    response = model.chat_with_tools(TOOLS, "Hello")
    assert model.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
    with pytest.raises(ValueError, match="the model called no tool, and answered 'I am sorry"):
        model.get_tool_calls_from_response(response)
    with pytest.raises(ValueError, match="tool_choice='fly' names no tool"):
        model.chat_with_tools(TOOLS, "Hello", tool_choice="fly")


async def test_every_way_gives_the_same() -> None:
    model = llm(ADD, ADD)
    expected = made(model.chat_with_tools(TOOLS, "Add 2 and 3."))
    assert made(await model.achat_with_tools(TOOLS, "Add 2 and 3.")) == expected
    assert [made(chunk) for chunk in model.stream_chat_with_tools(TOOLS, "Add 2 and 3.")] == [expected]
    stream = await model.astream_chat_with_tools(TOOLS, "Add 2 and 3.")
    assert [made(chunk) async for chunk in stream] == [expected]
    assert model.predict_and_call(TOOLS, "Add 2 and 3.").response == "5"
    assert (await model.apredict_and_call(TOOLS, "Add 2 and 3.")).response == "5"


def test_the_history_reaches_the_template() -> None:
    model = llm(KIND)
    history = [
        ChatMessage(role="user", content="Add 2 and 3."),
        ChatMessage(
            role="assistant",
            blocks=[ToolCallBlock(tool_call_id="1", tool_name="add", tool_kwargs={"a": 2, "b": 3})],
        ),
        ChatMessage(role="tool", content="5", additional_kwargs={"tool_call_id": "1", "name": "add"}),
    ]
    conversation = model.conversation(history)
    assert [turn.role for turn in conversation] == ["user", "assistant", "tool"]
    assert conversation[1].tool_calls[0].name == "add"
    assert model.chat_with_tools(TOOLS, chat_history=history).message.content == KIND


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_function_agent_calls_a_tool_and_answers(streaming: bool) -> None:
    def answers(context: str) -> list[str]:
        return ["It is 5."] if "<|im_start|>tool" in context else [ADD]

    model = ICDPOLLM(icdpo=make_core(answers, tools=True, n=1))
    agent = FunctionAgent(tools=TOOLS, llm=model, streaming=streaming)
    handler = agent.run("Add 2 and 3.")
    results = [event async for event in handler.stream_events() if isinstance(event, ToolCallResult)]
    assert [str(result.tool_output) for result in results] == ["5"]
    assert str(await handler) == "It is 5."


class Height(BaseModel):
    """A height."""

    metres: int


def test_structured_predict_takes_the_candidate_that_fits() -> None:
    model = llm(KIND, call("Height", '{"metres": 3}'))
    assert model.structured_predict(Height, PromptTemplate("How high?")) == Height(metres=3)


def test_text_blocks_stay_beside_calls() -> None:
    response = llm(f"I add them. {ADD}").chat_with_tools(TOOLS, "Add 2 and 3.")
    assert isinstance(response.message.blocks[0], TextBlock)
    assert response.message.blocks[0].text == "I add them."
    assert response.message.role == MessageRole.ASSISTANT
