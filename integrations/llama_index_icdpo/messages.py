"""Converts LlamaIndex's messages to the core's conversation."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.base.llms.types import (
    ChatMessage,
    ContentBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.messages import Message, Role
from icdpo_chains.tool_calls.tool_call import ToolCall, as_tool_calls

__all__ = ["to_conversation"]

_ROLES: dict[MessageRole, Role] = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}


def to_conversation(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """Returns chat messages as the core's messages; content that can't be converted is an error.

    Tool calls, their ids and the names of tools are kept, for chat templates that have a place for them;
    thoughts are left out.

    Raises:
        InvalidInputError: a message contains content other than text.
    """
    return tuple(_message(message, i) for i, message in enumerate(messages))


def _message(message: ChatMessage, position: int) -> Message:
    where = f"message {position} ({message.role.value})"
    texts = [_text(block, where) for block in message.blocks]
    text, role = "\n".join(text for text in texts if text is not None), _ROLES[message.role]
    if role == "tool":
        given = {key: message.additional_kwargs.get(key) for key in ("tool_call_id", "name")}
        named = {key: str(value) for key, value in given.items() if value}
        return Message(role, text, (), **named)
    calls = [_call(block, where) for block in message.blocks if isinstance(block, ToolCallBlock)]
    if role != "assistant" and calls:
        raise InvalidInputError(f"{where} contains tool calls: only an assistant's message may contain them")
    return Message(role, text, tuple(calls))


def _call(block: ToolCallBlock, where: str) -> ToolCall:
    function = {"name": block.tool_name, "arguments": block.tool_kwargs}
    return as_tool_calls([{"id": block.tool_call_id, "function": function}], where)[0]


def _text(block: ContentBlock, where: str) -> str | None:
    if isinstance(block, TextBlock):
        return block.text
    if isinstance(block, (ThinkingBlock, ToolCallBlock)):
        return None
    raise InvalidInputError(
        f"{where} has a {block.block_type!r} block, and the model reads text only: leave that block out, "
        "or describe it in words"
    )
