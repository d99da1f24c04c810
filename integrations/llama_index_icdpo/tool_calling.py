"""Tools of LlamaIndex's agents: their form for the model, and the calls in a response."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ToolCallBlock
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools.types import BaseTool

from icdpo_chains.tool_calls.reading import ReadCalls

__all__ = ["TOOL_OPTIONS", "call_blocks", "history", "selections", "tool_options"]

TOOL_OPTIONS = ("tools", "tool_choice", "allow_parallel_tool_calls")
"""The options of a chat that concern tools."""


def tool_options(
    tools: Sequence[BaseTool], *, required: bool = False, parallel: bool = False, choice: str | None = None
) -> dict[str, Any]:
    """Returns the options that show tools to the model.

    Args:
        tools: the tools.
        required: the model must call a tool.
        parallel: allow several calls in one answer.
        choice: `"auto"`, `"any"` or the name of a tool; overrides `required`.

    Raises:
        ValueError: the choice names no tool.
    """
    shown = [tool.metadata.to_openai_tool(skip_length_check=True) for tool in tools]
    names = [tool["function"]["name"] for tool in shown]
    choice = choice or ("any" if required else "auto")
    choice = "any" if choice == "required" else choice
    if choice not in ("auto", "any", "none", *names):
        raise ValueError(f"tool_choice={choice!r} names no tool: use 'auto', 'any', 'none' or one of {names}")
    return dict(zip(TOOL_OPTIONS, (shown, choice, parallel), strict=True))


def call_blocks(read: ReadCalls) -> list[ToolCallBlock]:
    """Returns the calls of an answer as blocks with new ids."""
    return [
        ToolCallBlock(
            tool_call_id=f"call_{uuid.uuid4().hex[:24]}",
            tool_name=call.name,
            tool_kwargs=dict(call.arguments),
        )
        for call in read.calls
    ]


def selections(response: ChatResponse, *, required: bool) -> list[ToolSelection]:
    """Returns the calls in a response.

    Args:
        response: the response of a chat with tools.
        required: whether a response without a call is an error.

    Raises:
        ValueError: the response has no call.
    """
    blocks = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    if required and not blocks:
        answer = str(response.message.content or "")
        raise ValueError(
            f"the model called no tool, and answered {answer!r:.200}: ask again, or use a larger model"
        )
    return [
        ToolSelection(
            tool_id=block.tool_call_id or block.tool_name,
            tool_name=block.tool_name,
            tool_kwargs=dict(block.tool_kwargs) if isinstance(block.tool_kwargs, Mapping) else {},
        )
        for block in blocks
    ]


def history(
    user_msg: str | ChatMessage | None, chat_history: Sequence[ChatMessage] | None
) -> list[ChatMessage]:
    """Returns the messages of a chat: the history, and then the user's message."""
    if isinstance(user_msg, str):
        user_msg = ChatMessage(role="user", content=user_msg)
    return [*(chat_history or ()), *([user_msg] if user_msg is not None else ())]
