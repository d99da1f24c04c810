"""Converts a chain's input, `{"input", "context", "chat_history"}`, to messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, SystemMessage

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.prompts.contexts import FROM_DOCUMENTS
from langchain_icdpo.messages import to_messages

__all__ = ["to_question"]


def to_question(value: Any) -> list[BaseMessage]:
    """Returns the messages of a chain's input.

    Args:
        value: a prompt of a chat model, or a mapping of `input` (such a prompt), `context` (documents or text
            for the answer; they become a system message, so that only the question influences which
            demonstrations are retrieved) and `chat_history` (earlier messages).

    Raises:
        InvalidInputError: `input` is missing, or a part can't be read.
    """
    if not isinstance(value, Mapping):
        return to_messages(value)
    if "input" not in value:
        raise InvalidInputError(
            f"the key 'input' is missing; the input has: {', '.join(map(str, value)) or 'nothing'}"
        )
    history, question = to_messages(value.get("chat_history") or []), to_messages(value["input"])
    context = _text(value.get("context"))
    if not context.strip():
        return [*history, *question]
    # Next to the question: small models forget distant text.
    return [*history, SystemMessage(f"{FROM_DOCUMENTS}\n\n{context}"), *question]


def _text(context: Any) -> str:
    if context is None or isinstance(context, str):
        return context or ""
    if isinstance(context, Document):
        return context.page_content
    if isinstance(context, Sequence):
        return "\n\n".join(map(_text, context))
    raise InvalidInputError(
        f"the context is a {type(context).__name__}, and has to be a text, documents, or texts"
    )
