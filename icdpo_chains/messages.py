"""`Message`: one turn of a conversation, and the accepted forms of a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.tool_calls.tool_call import ToolCall, as_tool_calls

__all__ = [
    "Conversation",
    "Message",
    "Role",
    "as_conversation",
    "as_message",
    "as_responses",
    "check_text",
    "search_text",
]

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
Conversation: TypeAlias = "str | Sequence[Message | Mapping[str, Any]]"
"""A prompt: a string (one user turn), or messages as `Message` or `{"role", "content"}`."""

_ROLES = get_args(Role)


def check_text(text: object, what: str) -> str:
    """Returns `text` if it is a valid Unicode string.

    Args:
        text: the value to check.
        what: its name in an error message, such as `"the question"`.

    Raises:
        TypeError: the value is not a string.
        InvalidInputError: the string contains a lone surrogate, which no encoding can represent.
    """
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a string, not {type(text).__name__}: {text!r:.80}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"{what} has the lone surrogate {text[error.start]!r} at position {error.start}, which is not "
            "valid Unicode: decode the source as UTF-8 (errors='replace') or remove it"
        ) from None
    return text


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: `"system"`, `"user"`, `"assistant"` or `"tool"`.
        content: the text, kept exactly as given.
        tool_calls: the calls of an assistant.
        tool_call_id: the id of the call whose result a tool's message holds.
        name: the name of the tool whose result a tool's message holds.

    Raises:
        InvalidInputError: the role is unknown, the content is not valid Unicode, or a field belongs to
            another role.
        TypeError: the content is not a string.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if self.role not in _ROLES:
            raise InvalidInputError(
                f"the role {self.role!r} is unknown: use one of {', '.join(map(repr, _ROLES))}"
            )
        check_text(self.content, f"the content of the {self.role} message")
        if self.tool_calls and self.role != "assistant":
            raise InvalidInputError(
                f"a {self.role} message contains tool calls: only an assistant's message may contain them"
            )
        for field in ("tool_call_id", "name"):
            value = getattr(self, field)
            if value is not None and self.role != "tool":
                raise InvalidInputError(
                    f"a {self.role} message has the {field} {value!r:.80}: only a tool's message may have it"
                )
            if value is not None:
                check_text(value, f"the {field} of a tool message")

    @property
    def text(self) -> str:
        """The content, and the tool calls as text."""
        calls = [call.to_text() for call in self.tool_calls]
        return "\n".join([*([self.content] if self.content or not calls else []), *calls])

    def to_dict(self) -> dict[str, Any]:
        """Returns `{"role": ..., "content": ...}` and the fields of tools that the message has.

        This is the form that Hugging Face's chat templates take.
        """
        fields: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            fields["tool_calls"] = [call.to_dict() for call in self.tool_calls]
        for field in ("tool_call_id", "name"):
            if getattr(self, field) is not None:
                fields[field] = getattr(self, field)
        return fields


def as_conversation(prompt: Conversation, *, continued: bool = False) -> tuple[Message, ...]:
    """Returns a prompt as messages that end with the turn to answer.

    Args:
        prompt: a string, which becomes one user turn, or messages.
        continued: whether the prompt has to end with the beginning of the assistant's answer instead.

    Raises:
        InvalidInputError: the prompt is blank, has no user turn, ends with the wrong turn, or a message lacks
            its `role` or `content`.
        TypeError: the prompt is neither a string nor a sequence of messages.
    """
    if isinstance(prompt, str):
        messages: tuple[Message, ...] = (Message("user", prompt),)
    elif isinstance(prompt, Sequence) and not isinstance(prompt, bytes):
        messages = tuple(as_message(item, i) for i, item in enumerate(prompt))
    else:
        raise TypeError(f"a prompt is a string or a sequence of messages, not {type(prompt).__name__}")
    if not any(message.role == "user" and message.content.strip() for message in messages):
        raise InvalidInputError("the question is blank: the prompt needs a user turn with some text")
    last = messages[-1]
    if continued and (last.role != "assistant" or last.tool_calls or not last.content.strip()):
        raise InvalidInputError(
            "continue_final_message is set, and the prompt does not end with an assistant turn that has some "
            "text: add the beginning of the answer, or leave continue_final_message out"
        )
    if last.role == "assistant" and not continued:
        raise InvalidInputError(
            "the prompt ends with an assistant turn, so there is nothing to answer: leave that turn out, or "
            'continue it by chat_template_kwargs={"continue_final_message": True}'
        )
    return messages


def search_text(conversation: Sequence[Message]) -> str:
    """Returns the text that retrieval compares: the turns, joined by line breaks.

    System messages are left out. They state how to answer (or, in a RAG chain, from which documents); they
    are often long and always alike, and would drown the question.
    """
    return "\n".join(message.text for message in conversation if message.role != "system")


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


def as_message(item: object, position: int) -> Message:
    """Returns a `Message`, or a mapping in the form of `Message.to_dict` or of OpenAI's API, as a `Message`.

    Args:
        item: the message.
        position: its place in the conversation, for errors.

    Raises:
        InvalidInputError: the message lacks its `role` or `content`, or a field can't be used.
        TypeError: the message is neither a `Message` nor a mapping.
    """
    if isinstance(item, Message):
        return item
    if not isinstance(item, Mapping):
        raise TypeError(f"message {position} must be a Message or a mapping, not {type(item).__name__}")
    where = f"message {position}"
    calls = as_tool_calls(item.get("tool_calls"), where)
    content = item.get("content")
    if content is None and calls:
        content = ""  # a call needs no words
    missing = [key for key in ("role", "content") if key not in item and not (calls and key == "content")]
    if missing:
        raise InvalidInputError(
            f"{where} has no {' and no '.join(map(repr, missing))}: give both 'role' and 'content'"
        )
    role = item["role"]
    # OpenAI's form has names of people, which chat templates have no place for.
    of_tool = {key: item.get(key) for key in ("tool_call_id", "name")} if role == "tool" else {}
    return Message(role, content, calls, **of_tool)  # type: ignore[arg-type]  # which checks them
