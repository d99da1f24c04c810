"""Converts LlamaIndex's messages to the core's conversation."""

from __future__ import annotations

import json
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

    Tool calls become `<tool_call>{...}</tool_call>` in the assistant's text; thoughts are left out.

    Raises:
        InvalidInputError: a message holds content other than text.
    """
    return tuple(_message(message, i) for i, message in enumerate(messages))


def _message(message: ChatMessage, position: int) -> Message:
    where = f"message {position} ({message.role.value})"
    texts = [_text(block, where) for block in message.blocks]
    return Message(_ROLES[message.role], "\n".join(text for text in texts if text is not None))


def _text(block: ContentBlock, where: str) -> str | None:
    if isinstance(block, TextBlock):
        return block.text
    if isinstance(block, ThinkingBlock):
        return None
    if isinstance(block, ToolCallBlock):
        # The form of Qwen, Hermes and SmolLM2; other models can read their history in it as well.
        call = {"name": block.tool_name, "arguments": block.tool_kwargs}
        return f"<tool_call>\n{json.dumps(call, ensure_ascii=False)}\n</tool_call>"
    raise InvalidInputError(
        f"{where} holds a {block.block_type!r} block, and the model reads text only: leave that block out, "
        "or describe it in words"
    )
