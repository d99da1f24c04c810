"""Tools: the instruction to the model, and the parsing of calls in its text."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import InvalidToolCall, ToolCall
from langchain_core.messages.tool import invalid_tool_call, tool_call
from langchain_core.utils.function_calling import convert_to_openai_tool

from icdpo_chains.tool_calls.json_answer import JsonAnswer
from icdpo_chains.tool_calls.tool_choice import ToolChoice

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
    """Requires calls of tools, and turns a candidate's text into LangChain's calls; see `ToolChoice`.

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
        self._answer = answer

        def is_answer(text: str) -> bool:
            return answer is None or answer.fitting([text])[0]

        self._choice = ToolChoice(tools, choice, parallel=parallel, is_answer=is_answer)

    @property
    def instruction(self) -> str | None:
        """Asks the model for a call, or for the form of the answer."""
        return self._choice.instruction or (None if self._answer is None else self._answer.instruction)

    def fitting(self, texts: Sequence[str]) -> list[bool]:
        """Returns for each candidate whether it has the form."""
        return self._choice.fitting(texts)

    def fields(self, text: str) -> dict[str, Any]:
        """Returns the content without the calls, the calls, and the invalid calls."""
        content, calls, broken = self._read(text)
        if self._answer is not None and not calls and not broken:
            return self._answer.fields(text)
        return {"content": content, "tool_calls": calls, "invalid_tool_calls": broken}

    def _read(self, text: str) -> tuple[str, list[ToolCall], list[InvalidToolCall]]:
        read = self._choice.read(text)
        calls = [tool_call(name=call.name, args=dict(call.arguments), id=_new_id()) for call in read.calls]
        error = "this is not a call with a name and an object of arguments"
        broken = [
            invalid_tool_call(name=None, args=piece, id=_new_id(), error=error) for piece in read.broken
        ]
        return read.content, calls, broken


def _new_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"
