"""Converts LangChain's messages to the core's conversation, and back."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    convert_to_messages,
)
from langchain_core.prompt_values import PromptValue

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.messages import Message, Role
from icdpo_chains.tool_calls.tool_call import ToolCall

__all__ = ["from_conversation", "to_conversation", "to_messages", "to_text"]

_logger = logging.getLogger(__name__)

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "human": "user",
    "user": "user",
    "ai": "assistant",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}

# Parts of an assistant's content besides text: thoughts, which are not shown again, and tool
# calls, which are in `tool_calls` too.
_NOT_SHOWN = frozenset(
    {
        "reasoning",
        "thinking",
        "redacted_thinking",
        "tool_use",
        "tool_call",
        "tool_call_chunk",
        "function_call",
    }
)


def to_messages(value: Any) -> list[BaseMessage]:
    """Returns the prompt of a LangChain chat model as LangChain's messages.

    Args:
        value: a string, a prompt value, a message, or messages in any form that LangChain accepts.

    Raises:
        InvalidInputError: the value has another type.
    """
    if isinstance(value, str):
        return [HumanMessage(value)]
    if isinstance(value, PromptValue):
        return value.to_messages()
    if isinstance(value, BaseMessage):
        return [value]
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        try:
            return convert_to_messages(value)
        except (ValueError, NotImplementedError, TypeError) as error:
            raise InvalidInputError(f"the prompt can't be read as messages: {error}") from error
    raise InvalidInputError(
        f"a prompt is a string, a prompt value or a list of messages, not {type(value).__name__}"
    )


def to_conversation(value: Any, *, text_only: bool = False) -> tuple[Message, ...]:
    """Returns a prompt as the core's messages; content that can't be converted is an error.

    A human message with a name begins with that name, because chat templates have no place for names. Tool
    calls, their ids and the names of tools are kept, for templates that have a place for them.

    Args:
        value: see `to_messages`.
        text_only: for scoring answers of another model, which may have seen more than text: names the other
            parts of a message, as in `[image]`, and leaves out those of an assistant's message.

    Raises:
        InvalidInputError: a role is unknown, or a message contains content other than text.
    """
    return tuple(_message(message, i, text_only) for i, message in enumerate(to_messages(value)))


def from_conversation(conversation: Sequence[Message]) -> list[BaseMessage]:
    """Returns the core's messages as LangChain's; a tool's result without the id of its call as a human's."""
    return [_from_turn(turn) for turn in conversation]


def to_text(message: BaseMessage, where: str = "the message", *, text_only: bool = False) -> str:
    """Returns the text of a message.

    Args:
        message: a message whose content is a string or a list of parts.
        where: the message's name in errors.
        text_only: see `to_conversation`.

    Raises:
        InvalidInputError: the message contains an image, audio or another part that is not text.
    """
    if isinstance(message.content, str):
        return message.content
    said = isinstance(message, AIMessage)
    return "".join(_part(part, said, where, text_only) for part in message.content)


def _message(message: BaseMessage, position: int, text_only: bool) -> Message:
    # Messages of a stream have types such as "AIMessageChunk".
    kind = message.type.removesuffix("MessageChunk").lower()
    name = message.role if isinstance(message, ChatMessage) else kind
    role = _ROLES.get(name)
    where = f"message {position} ({name})"
    if role is None:
        raise InvalidInputError(f"{where} has an unknown role: use one of {', '.join(map(repr, _ROLES))}")
    text = to_text(message, where, text_only=text_only)
    if isinstance(message, AIMessage):
        calls = [ToolCall(call["name"], call["args"], call["id"]) for call in message.tool_calls]
        return Message(role, text, tuple(calls))
    if role == "tool":
        id = message.tool_call_id if isinstance(message, ToolMessage) else None
        return Message(role, text, tool_call_id=id or None, name=message.name or None)
    if role == "user" and message.name:
        text = f"{message.name}: {text}"
    return Message(role, text)


def _from_turn(turn: Message) -> BaseMessage:
    if turn.role == "assistant":
        calls = [
            {"name": call.name, "args": dict(call.arguments), "id": call.id, "type": "tool_call"}
            for call in turn.tool_calls
        ]
        return AIMessage(turn.content, tool_calls=calls)
    if turn.role == "tool":
        if turn.tool_call_id is None:
            return HumanMessage(f"Result of a tool: {turn.content}")
        return ToolMessage(turn.content, tool_call_id=turn.tool_call_id, name=turn.name)
    return SystemMessage(turn.content) if turn.role == "system" else HumanMessage(turn.content)


def _part(part: str | dict[Any, Any], from_assistant: bool, where: str, text_only: bool) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type")
    if kind in ("text", "text-plain") and isinstance(part.get("text"), str):
        return str(part["text"])
    if from_assistant and kind == "refusal" and isinstance(part.get("refusal"), str):
        return str(part["refusal"])
    if from_assistant and (text_only or kind in _NOT_SHOWN):
        return ""
    if text_only:
        _logger.warning("%s contains a part of type %r, which the scoring model can't see", where, kind)
        return f"[{str(kind).removesuffix('_url')}]"
    raise InvalidInputError(
        f"{where} contains a part of type {kind!r}, and the model reads text only: leave that part out, or "
        "describe it in words"
    )
