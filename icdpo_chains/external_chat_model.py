"""`ChatModel`: the protocol of a judge or a teacher; any LangChain chat model fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from icdpo_chains.messages import Message

__all__ = ["ChatModel", "Turn", "chat_turns", "model_name", "reply"]

Turn: TypeAlias = tuple[str, str]
"""A role (`"system"`, `"human"`, `"ai"`) and a text; LangChain takes the pair as a literal message."""

_SPEAKERS = {"system": "system", "user": "human", "assistant": "ai", "tool": "human"}


class ChatModel(Protocol):
    """A chat model: LangChain's `BaseChatModel`, a chain that returns a text, or any object with `invoke`."""

    def invoke(self, input: list[Turn], /) -> Any:
        """Returns the answer: a string, or an object whose `content` is a string or a list of blocks."""
        ...


def reply(chat_model: ChatModel, turns: Sequence[Turn]) -> str:
    """Returns a chat model's answer to a conversation.

    Args:
        chat_model: the model.
        turns: the conversation.

    Returns:
        The text of the answer. The text blocks of a list of content blocks are joined; thoughts are left out.
        `""` if the answer has no text.

    Raises:
        TypeError: the answer is no text and has no content of a known kind.
        Exception: any exception of the model.
    """
    answer = chat_model.invoke(list(turns))
    content = answer if isinstance(answer, str) else getattr(answer, "content", None)
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        raise TypeError(
            f"{model_name(chat_model)} answered with a {type(answer).__name__}, which has no text: its "
            "`invoke` must return a string, or a message with `content`"
        )
    return "".join(map(_block_text, content))


def chat_turns(conversation: Sequence[Message]) -> list[Turn]:
    """Returns a conversation as turns for a chat model.

    A tool's result becomes a human turn: a tool turn would need the id of a call that the model never made.
    """
    return [(_SPEAKERS[message.role], message.text) for message in conversation]


def model_name(chat_model: object) -> str:
    """Returns the name of a chat model: its `model_name`, `model` or `name`, or else its class."""
    for attribute in ("model_name", "model", "name"):
        name = getattr(chat_model, attribute, None)
        if isinstance(name, str) and name:
            return name
    return type(chat_model).__name__


def _block_text(block: object) -> str:
    if isinstance(block, Mapping):
        block = block.get("text") if block.get("type") in ("text", "output_text", None) else None
    return block if isinstance(block, str) else ""
