"""`ChatModel`: a model behind somebody else's interface, as a judge or a teacher. Any LangChain one fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from icdpo_chains.messages import Message

__all__ = ["ChatModel", "Turn", "chat_turns", "model_name", "reply"]

Turn: TypeAlias = tuple[str, str]
"""Who speaks (`"system"`, `"human"`, `"ai"`), and what: LangChain takes it as a message, braces and all."""

_SPEAKERS = {"system": "system", "user": "human", "assistant": "ai", "tool": "human"}


class ChatModel(Protocol):
    """What is called of a chat model: LangChain's `BaseChatModel` has it, and so may any object."""

    def invoke(self, input: list[Turn], /) -> Any:
        """Returns the answer as an object with `.content`: a string, or a list of content blocks."""
        ...


def reply(chat_model: ChatModel, turns: Sequence[Turn]) -> str:
    """Asks a chat model.

    Args:
        chat_model: the model.
        turns: the conversation.

    Returns:
        The text of its answer; of content blocks those that are text, joined (thoughts are none). `""` if it
        gave no text.

    Raises:
        TypeError: the answer has no content of a known kind.
        Exception: whatever the model raises.
    """
    content = getattr(chat_model.invoke(list(turns)), "content", None)
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        raise TypeError(f"{model_name(chat_model)} answered without text: {type(content).__name__}")
    return "".join(map(_block_text, content))


def chat_turns(conversation: Sequence[Message]) -> list[Turn]:
    """Returns a conversation as a chat model takes it.

    The result of a tool becomes a human turn: as a tool's turn it would need the id of a call that the model
    has never made.
    """
    return [(_SPEAKERS[message.role], message.content) for message in conversation]


def model_name(chat_model: object) -> str:
    """Returns what a chat model is called: its `model_name`, `model` or `name`, or else its class."""
    for attribute in ("model_name", "model", "name"):
        name = getattr(chat_model, attribute, None)
        if isinstance(name, str) and name:
            return name
    return type(chat_model).__name__


def _block_text(block: object) -> str:
    if isinstance(block, Mapping):
        block = block.get("text") if block.get("type") in ("text", "output_text", None) else None
    return block if isinstance(block, str) else ""
