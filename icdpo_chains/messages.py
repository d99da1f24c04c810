"""`Message`: one turn of a conversation, and the accepted forms of a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from icdpo_chains.errors import InvalidInputError

__all__ = [
    "Conversation",
    "Message",
    "Role",
    "as_conversation",
    "as_responses",
    "check_text",
    "search_text",
]

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
Conversation: TypeAlias = "str | Sequence[Message | Mapping[str, str]]"
"""A prompt: a string (one user turn), or messages as `Message` or `{"role", "content"}`."""

_ROLES = get_args(Role)


def check_text(text: object, what: str) -> str:
    """Returns `text` if it is a valid Unicode string.

    Args:
        text: the value to check.
        what: its name in an error message, such as `"the question"`.

    Raises:
        TypeError: the value is not a string.
        InvalidInputError: the string holds a lone surrogate, which no encoding can represent.
    """
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a string, not {type(text).__name__}: {text!r:.80}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"{what} holds the lone surrogate {text[error.start]!r} at position {error.start}, which is not "
            "valid Unicode: decode the source as UTF-8 (errors='replace') or remove it"
        ) from None
    return text


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: `"system"`, `"user"`, `"assistant"` or `"tool"`.
        content: the text, kept exactly as given.

    Raises:
        InvalidInputError: the role is unknown, or the content is not valid Unicode.
        TypeError: the content is not a string.
    """

    role: Role
    content: str

    def __post_init__(self) -> None:
        if self.role not in _ROLES:
            raise InvalidInputError(
                f"the role {self.role!r} is unknown: use one of {', '.join(map(repr, _ROLES))}"
            )
        check_text(self.content, f"the content of the {self.role} message")

    def to_dict(self) -> dict[str, str]:
        """Returns `{"role": ..., "content": ...}`, the form for Hugging Face's chat templates."""
        return {"role": self.role, "content": self.content}


def as_conversation(prompt: Conversation) -> tuple[Message, ...]:
    """Returns a prompt as messages that end with the turn to answer.

    Args:
        prompt: a string, which becomes one user turn, or messages.

    Raises:
        InvalidInputError: the prompt is blank, has no user turn, ends with the assistant's own turn, or a
            message lacks its `role` or `content`.
        TypeError: the prompt is neither a string nor a sequence of messages.
    """
    if isinstance(prompt, str):
        messages: tuple[Message, ...] = (Message("user", prompt),)
    elif isinstance(prompt, Sequence) and not isinstance(prompt, bytes):
        messages = tuple(_as_message(item, i) for i, item in enumerate(prompt))
    else:
        raise TypeError(f"a prompt is a string or a sequence of messages, not {type(prompt).__name__}")
    if not any(message.role == "user" and message.content.strip() for message in messages):
        raise InvalidInputError("the question is blank: the prompt needs a user turn with some text")
    if messages[-1].role == "assistant":
        raise InvalidInputError(
            "the prompt ends with an assistant turn, so there is nothing to answer: leave that turn out"
        )
    return messages


def search_text(conversation: Sequence[Message]) -> str:
    """Returns the text that retrieval compares: the turns, joined by line breaks.

    System messages are left out. They state how to answer (or, in a RAG chain, from which documents); they
    are often long and always alike, and would drown the question.
    """
    return "\n".join(message.content for message in conversation if message.role != "system")


def as_responses(responses: Sequence[str]) -> list[str]:
    """Returns answers as a list.

    Raises:
        InvalidInputError: an answer is not valid Unicode.
        TypeError: an answer is not a string, or `responses` is a single string.
        ValueError: `responses` is empty.
    """
    if isinstance(responses, str):
        raise TypeError("responses must be a sequence of strings: put a single string into a list")
    for i, response in enumerate(responses):
        check_text(response, f"response {i}")
    if not responses:
        raise ValueError("there are no responses to score: give at least one")
    return list(responses)


def _as_message(item: object, position: int) -> Message:
    if isinstance(item, Message):
        return item
    if not isinstance(item, Mapping):
        raise TypeError(f"message {position} must be a Message or a mapping, not {type(item).__name__}")
    missing = [key for key in ("role", "content") if key not in item]
    if missing:
        raise InvalidInputError(
            f"message {position} has no {' and no '.join(map(repr, missing))}: give both 'role' and 'content'"
        )
    return Message(item["role"], item["content"])
