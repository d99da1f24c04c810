"""Values of a row as messages and answers: `prompt_from`, `answer_from`, `joined`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from icdpo_chains.demonstrations.files.shapes.dialogue import (
    check_marks,
    dialogue_of,
    value_of,
    without_control_end,
    without_end,
)
from icdpo_chains.errors import DemonstrationError
from icdpo_chains.messages import Message, as_conversation
from icdpo_chains.tool_calls.tool_call import as_tool_calls

__all__ = ["Prompt", "Turns", "answer_from", "is_message_list", "joined", "prompt_from", "single_text"]

Turns: TypeAlias = tuple[Message, ...]
Prompt: TypeAlias = "str | Turns"

_ROLES = {
    "developer": "system",
    "human": "user",
    "prompter": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "observation": "tool",
    "function": "tool",
    "function_response": "tool",
    "tool_response": "tool",
}
_MESSAGES = ("messages", "conversation", "conversations", "chat_history")
_TEXTS = (
    *("content", "text", "full_text", "value", "question", "query", "prompt", "input", "instruction"),
    *("answer", "response", "output", "completion", "generation", "result"),
)


_MESSAGE_KEYS = (
    *({"role", "content"}, {"from", "value"}),
    {"role", "parts"},  # Gemini
    {"role", "message"},  # Cohere
    *({"type", "content"}, {"type", "data"}, {"kwargs"}),  # LangChain
)


def is_message_list(value: object) -> bool:
    """Whether `value` is one message, or a list of at least one, in either form of messages."""
    items = value if isinstance(value, list) else [value]
    return bool(items) and all(
        isinstance(item, Mapping) and any(keys <= item.keys() for keys in _MESSAGE_KEYS) for item in items
    )


def prompt_from(value: Any, name: str) -> tuple[Prompt, bool]:
    """Returns a prompt, and whether marks were removed from its text.

    Args:
        value: a text, messages, an object that contains either of them, or any of these as JSON in a string.
        name: the column's name for errors.

    Raises:
        DemonstrationError: the value is none of these.
    """
    if isinstance(value, str):
        parsed = value_of(value)
        if parsed is not None and _holds_messages(parsed):
            return _turns(parsed, name), False
        turns = dialogue_of(value)
        if turns is None:
            check_marks(value, name)
            return value, False
        if turns[-1].role == "assistant" and not turns[-1].content.strip() and len(turns) > 1:
            turns = turns[:-1]
        return (turns[0].content if len(turns) == 1 and turns[0].role == "user" else turns), True
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return prompt_from(value[0], name)
    if isinstance(value, Mapping) and not _holds_messages(value):
        return prompt_from(_only_text(value, name), name)
    return _turns(value, name), False


def answer_from(value: Any, name: str, *, marked: bool = False) -> tuple[Turns, str]:
    """Returns the turns before an answer, if the value contains them, and the answer.

    Args:
        value: a text, a message, a whole dialogue as messages or as one text, or any of them as JSON.
        name: the column's name for errors.
        marked: whether the prompt was a text with marks: the answer may end with a mark then.

    Raises:
        DemonstrationError: the value is none of these, or its last turn is not the assistant's.
    """
    if value is None:
        raise DemonstrationError(f"the row has no {name} answer")
    turns: Turns | None
    if isinstance(value, str):
        parsed = value_of(value)
        if parsed is not None and _holds_messages(parsed):
            return answer_from(parsed, name)
        turns = dialogue_of(value)
        if turns is None:
            check_marks(value, f"{name} answer")
            return (), without_end(value).strip() if marked else without_control_end(value)
    elif isinstance(value, Mapping) and isinstance(value.get("choices"), list) and value["choices"]:
        choice = value["choices"][0]  # a response of OpenAI's protocol
        said = choice.get("message") or choice.get("text") if isinstance(choice, Mapping) else None
        return answer_from(said, name, marked=marked)
    elif isinstance(value, Mapping) and not _holds_messages(value):
        return (), _only_text(value, name)
    else:
        turns = _turns(value, name)
    if turns[-1].role != "assistant":
        what = "dialogue ends with" if len(turns) > 1 or isinstance(value, str) else "answer is"
        raise DemonstrationError(f"the {name} {what} a {turns[-1].role} turn: it must be the assistant's")
    return turns[:-1], turns[-1].content


def joined(prompt: Prompt | None, before: Mapping[str, Turns]) -> Prompt:
    """Returns the prompt of answers, each of which may contain the turns before it.

    UltraFeedback and similar files repeat the whole dialogue in each answer, next to a prompt that is one of
    its turns.

    Args:
        prompt: the prompt of the row, if it has one.
        before: the turns before each answer, by the answer's name.

    Raises:
        DemonstrationError: the answers do not share the turns before them, or the turns lack the prompt.
    """
    given = {name: turns for name, turns in before.items() if turns}
    if not given:
        if prompt is None:
            raise DemonstrationError("the question is blank: the row has answers, and no turn before them")
        return prompt
    (name, turns), *others = given.items()
    for other, theirs in others:
        if turns != theirs:
            differing = zip(turns, theirs, strict=False)
            turn = next((i for i, (a, b) in enumerate(differing) if a != b), min(len(turns), len(theirs)))
            raise DemonstrationError(
                f"the {name} dialogue ({len(turns) + 1} turns) and the {other} one ({len(theirs) + 1} turns) "
                f"differ from turn {turn + 1} on: they must share everything before the last answer"
            )
    if prompt is None:
        return turns
    wanted = as_conversation(prompt)
    if turns == wanted:
        return prompt
    there = {(turn.role, turn.text.strip()) for turn in turns}
    if not all((turn.role, turn.text.strip()) in there for turn in wanted):
        raise DemonstrationError(
            f"the {name} answer has {len(turns) + 1} messages, which lack the prompt: give one assistant "
            "message, or the prompt's own messages and then one"
        )
    return turns


def single_text(value: Any) -> Any:
    """Returns the text in a list of one text; the list may be written as JSON (LMSYS)."""
    parsed = value_of(value) if isinstance(value, str) else value
    if isinstance(parsed, list) and None in parsed:
        raise DemonstrationError("a text of the row is null")
    if isinstance(parsed, list) and len(parsed) == 1 and isinstance(parsed[0], str):
        return parsed[0]
    if isinstance(parsed, list) and parsed and all(isinstance(text, str) for text in parsed):
        raise DemonstrationError(
            f"the row has {len(parsed)} turns in lists of texts: only a single turn can be read"
        )
    return value


def _holds_messages(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(is_message_list(value.get(name)) for name in _MESSAGES) or is_message_list(value)
    return is_message_list(value)


def _only_text(value: Mapping[str, Any], name: str) -> str:
    """The text in an object such as `{"text": ...}` or `{"question": ...}`."""
    found = [value[key] for key in _TEXTS if isinstance(value.get(key), str)]
    texts = [text for text in value.values() if isinstance(text, str)]
    if found and ("role" not in value or len(texts) > 1):
        return str(found[0])
    if len(texts) == 1 and "role" not in value:
        return str(texts[0])
    raise DemonstrationError(f"{name} is an object without a text: it has {', '.join(map(repr, value))}")


def _turns(value: Any, name: str) -> Turns:
    if isinstance(value, Mapping):
        inner = next((value[key] for key in _MESSAGES if is_message_list(value.get(key))), [value])
        value = inner if isinstance(inner, list) else [inner]
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise DemonstrationError(
            f"{name} must be a text or a list of messages, not {type(value).__name__}: {value!r:.60}"
        )
    if not value:
        raise DemonstrationError(f"{name} is an empty list: give at least one message")
    return tuple(_message(item, f"message {i + 1} of {name}") for i, item in enumerate(value))


def _message(item: object, what: str) -> Message:
    if not isinstance(item, Mapping):
        raise DemonstrationError(f"{what} must be an object, not {type(item).__name__}: {item!r:.60}")
    given: Mapping[str, Any] = item
    if isinstance(given.get("kwargs"), Mapping):  # LangChain's serialized message
        given = given["kwargs"]
    elif isinstance(given.get("data"), Mapping) and "role" not in given:
        given = {"type": given.get("type"), **given["data"]}
    if given.get("from") is not None:
        role, content = given["from"], given.get("value")
    else:
        role, content = (
            given.get("role", given.get("type")),
            given.get("content", given.get("parts", given.get("message"))),
        )
    if isinstance(role, str):
        role = _ROLES.get(role.lower().replace("-", "_"), role.lower())
    if isinstance(content, Sequence) and not isinstance(content, str):
        content = _parts(content, what)
    calls = as_tool_calls(given.get("tool_calls"), what) if role == "assistant" else ()
    if content is None and calls:
        content = ""
    if not isinstance(role, str) or not isinstance(content, str):
        raise DemonstrationError(
            f"{what} needs 'role' and 'content', or 'from' and 'value', as strings; it has: "
            + (", ".join(f"{key!r} ({type(part).__name__})" for key, part in given.items()) or "nothing")
        )
    named = {key: given[key] for key in ("tool_call_id", "name") if role == "tool" and given.get(key)}
    return Message(role, content, calls, **named)  # type: ignore[arg-type]  # which checks the role


def _parts(parts: Sequence[Any], what: str) -> str:
    """Returns the text of content parts; other parts can't be shown in a demonstration."""
    texts = []
    for part in parts:
        text = part
        if isinstance(part, Mapping):
            text = next((part[key] for key in ("text", "value") if isinstance(part.get(key), str)), None)
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
            raise DemonstrationError(f"{what} contains a part of the type {kind!r}: only text can be shown")
        texts.append(text)
    return "\n".join(texts)
