"""Tools: the instruction to the model, and the parsing of calls in its text."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import InvalidToolCall, ToolCall
from langchain_core.messages.tool import invalid_tool_call, tool_call
from langchain_core.utils.function_calling import convert_to_openai_tool

from icdpo_chains.tool_calls.reading import read_calls
from langchain_icdpo.chat_model.structured_output import JsonAnswer

__all__ = ["ToolUse", "tool_options"]


def tool_options(
    tools: Sequence[Any], tool_choice: Any = None, *, strict: bool | None = None
) -> dict[str, Any]:
    """Returns the options that bind tools to a chat model.

    Args:
        tools: the tools, in any form that LangChain accepts.
        tool_choice: see `ChatICDPO.bind_tools`.
        strict: passed to the tools' schemas.

    Raises:
        ValueError: `tool_choice` is not the name of one of the tools.
    """
    converted = [convert_to_openai_tool(tool, strict=strict) for tool in tools]
    names = [tool["function"]["name"] for tool in converted]
    if isinstance(tool_choice, dict):
        tool_choice = tool_choice.get("function", tool_choice).get("name")
    if tool_choice is None or tool_choice is False:
        tool_choice = "auto"
    if tool_choice is True or tool_choice == "required":
        tool_choice = "any"
    if tool_choice not in ("auto", "any", "none", *names):
        raise ValueError(
            f"tool_choice={tool_choice!r} names no tool: use 'auto', 'any', 'none' or one of {names}"
        )
    return {"tools": converted, "tool_choice": tool_choice}


class ToolUse:
    """Requires calls of tools, and turns a candidate's text into calls.

    With the choice `"auto"`, the majority of the candidates decides whether to call a tool, and a tie calls
    it. Scores can't compare a call with an answer, because demonstrations show only answers.

    Args:
        tools: the tools in OpenAI's form.
        choice: `"auto"`, `"any"` or the name of a tool.
        parallel: allow several calls in one answer.
        answer: the required form of an answer without a call; `None` for any text.
    """

    def __init__(
        self,
        tools: Sequence[dict[str, Any]],
        choice: str,
        *,
        parallel: bool = True,
        answer: JsonAnswer | None = None,
    ) -> None:
        self._required = {
            tool["function"]["name"]: tool["function"].get("parameters", {}).get("required", [])
            for tool in tools
        }
        self._tools = list(tools)
        self._choice = choice
        self._parallel = parallel
        self._answer = answer

    @property
    def instruction(self) -> str | None:
        """Asks the model for a call: chat templates have no place for `tool_choice`."""
        if self._choice == "auto":
            return None if self._answer is None else self._answer.instruction
        which = "one of the tools" if self._choice == "any" else f"the tool {self._choice}"
        return f"Answer by calling {which}, and with nothing else."

    def fitting(self, texts: Sequence[str]) -> list[bool]:
        """Returns for each candidate whether it has the form."""
        makes_call, answers = (
            [self._makes_call(text) for text in texts],
            [self._answers(text) for text in texts],
        )
        called = self._choice != "auto" or 0 < sum(makes_call) >= sum(answers)
        return makes_call if called else answers

    def fields(self, text: str) -> dict[str, Any]:
        """Returns the content without the calls, the calls, and the invalid calls."""
        content, calls, broken = self._read(text)
        if self._answer is not None and not calls and not broken:
            return self._answer.fields(text)
        return {"content": content, "tool_calls": calls, "invalid_tool_calls": broken}

    def _read(self, text: str) -> tuple[str, list[ToolCall], list[InvalidToolCall]]:
        read = read_calls(text, self._tools)
        calls = [tool_call(name=call.name, args=dict(call.arguments), id=_new_id()) for call in read.calls]
        error = "this is not a call with a name and an object of arguments"
        broken = [
            invalid_tool_call(name=None, args=piece, id=_new_id(), error=error) for piece in read.broken
        ]
        return read.content, calls, broken

    def _makes_call(self, text: str) -> bool:
        """Whether there is a call, and all calls are valid and are of the chosen tools."""
        _, calls, broken = self._read(text)
        if not calls or broken or (len(calls) > 1 and not self._parallel):
            return False
        return all(self._complete(call) and self._choice in ("auto", "any", call["name"]) for call in calls)

    def _answers(self, text: str) -> bool:
        _, calls, broken = self._read(text)
        return not calls and not broken and (self._answer is None or self._answer.fitting([text])[0])

    def _complete(self, call: ToolCall) -> bool:
        required = self._required.get(call["name"])
        return required is not None and all(name in call["args"] for name in required)


def _new_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"
