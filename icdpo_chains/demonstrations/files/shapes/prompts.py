"""`prompt_of`: the prompt of a row, with its system message, context and history."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from icdpo_chains.demonstrations.files.shapes.dialogue import value_of
from icdpo_chains.demonstrations.files.shapes.row import Row
from icdpo_chains.demonstrations.files.shapes.values import Prompt, is_message_list, prompt_from
from icdpo_chains.errors import DemonstrationError
from icdpo_chains.messages import Message, Role, as_conversation

__all__ = ["AROUND", "PROMPT", "TURNS", "context_of", "has_prompt", "prompt_of", "with_system"]

PROMPT = (
    *("prompt", "question", "query", "instruction", "user_prompt", "user_message", "user_input"),
    *("user_query", "input", "inputs", "request", "prompt_text", "input_text", "full_prompt", "message"),
    *("human_message", "problem", "user", "human", "task"),
)
TURNS = (
    *("messages", "conversations", "conversation", "dialogue", "dialog", "prompt_messages", "turns"),
    "contents",
)
_HISTORY = (
    *("history", "chat_history", "conversation_history", "dialogue_history", "message_history"),
    *("previous_turns", "previous_messages", "previous_conversation", "prior_messages", "prior_turns"),
    *("past_messages", "conversation_so_far", "chat_log"),
)
_CONTEXT = (
    *("context", "contexts", "passage", "passages", "document", "documents", "background"),
    *("retrieved_contexts", "retrieved_context", "retrieved_documents", "source_documents"),
)
_LAST = ("context", *_HISTORY, "post")
"""Next to another column, the context or the history of the question; alone, the question."""
_TEXTS = ("text", "content", "page_content", "body", "passage", "value")
_PLACE = re.compile(r"\{\{?\s?([A-Za-z_]\w{0,40})\s?\}")
_TURN: tuple[Role, Role] = ("user", "assistant")
_EXCHANGES: Mapping[frozenset[str], tuple[str, str]] = {
    frozenset(keys): keys
    for keys in (
        ("user", "assistant"),
        ("human", "ai"),
        ("human", "assistant"),
        ("prompt", "response"),
        ("question", "answer"),
        ("input", "output"),
    )
}
"""A question and its answer in one object of a history."""
_SYSTEM = (
    *("system", "system_prompt", "system_message", "system_text", "system_instruction"),
    *("system_instructions", "instructions", "sys", "sys_prompt", "system_role", "preamble"),
)

AROUND = (*_HISTORY, *_CONTEXT, *_SYSTEM)
"""Columns of the turns, the context and the system text around a question."""


def has_prompt(row: Row, *, filled: bool = False) -> bool:
    """Whether a row has a prompt column; with `filled`, one that is not null."""
    names = (*PROMPT, *TURNS, *_LAST)
    return row.first(*names) is not None if filled else row.has(*names)


def prompt_of(row: Row) -> tuple[Prompt | None, bool]:
    """Returns the prompt, and whether marks were removed from it; `None` if no column contains a prompt.

    Alpaca's `input` follows its `instruction`. A system column becomes a system message, and so does a
    context text; a history precedes the question.

    Raises:
        DemonstrationError: the column's value is not a prompt.
    """
    name = row.first(*PROMPT, *TURNS, *_LAST)
    if name is None:
        return None, False
    prompt, marked = prompt_from(row.take(name), name)
    if isinstance(prompt, str):
        _check(prompt, name, row)
    if name in ("question", "query") and isinstance(prompt, str):
        asked = row.take_text("instruction")
        prompt = f"{asked}\n\n{prompt}" if asked and asked not in prompt else prompt
    if name == "instruction" and isinstance(prompt, str):
        more = row.take_text("input")
        prompt = f"{prompt}\n\n{more}" if more else prompt
    if isinstance(prompt, str) and not marked and name in PROMPT:
        prompt = _among_turns(prompt, row)
    before: tuple[Message, ...] = ()
    context: str | None = None
    if name not in _LAST:
        history = row.first(*_HISTORY)
        if history is not None:
            before = _history(row.take(history))
        if is_message_list(row.peek("context")):
            turns, _ = prompt_from(row.take("context"), "context")
            before += as_conversation(turns) if isinstance(turns, str) else turns
        else:
            context = context_of(row)
    if before:
        prompt = (*before, *as_conversation(prompt))
    return with_system(prompt, row, context), marked


def _check(prompt: str, name: str, row: Row) -> None:
    """Refuses a name in place of a question, and a template whose values are in other columns."""
    if name in ("user", "human", "task") and prompt.isascii() and not any(map(str.isspace, prompt)):
        raise DemonstrationError(
            f"{prompt!r:.40} in the column {name!r} looks like a name, not like a question: name the "
            "column of the question by --columns prompt=..."
        )
    others = {*PROMPT, *TURNS, *AROUND} - {name}
    places = [found[1] for found in _PLACE.finditer(prompt)]
    blank = next((place for place in places if place.lower() in others and row.has(place.lower())), None)
    if blank is not None:
        raise DemonstrationError(
            f"the column {name!r} has a template with the place {blank!r}, which is a column: give the "
            "filled prompt"
        )


def with_system(prompt: Prompt, row: Row, context: str | None = None) -> Prompt:
    """Puts the row's system message before a prompt without one, and adds the context to it."""
    turns = (Message("user", prompt),) if isinstance(prompt, str) else prompt
    has_system = bool(turns) and turns[0].role == "system"
    system = None if has_system else _taken(row, _SYSTEM)
    parts = [part for part in (turns[0].content if has_system else system, context) if part]
    if not parts or (has_system and not context):
        return prompt
    return (Message("system", "\n\n".join(parts)), *(turns[1:] if has_system else turns))


def _among_turns(prompt: str, row: Row) -> Prompt:
    """Returns a question with the turns before it, if another column has them.

    Raises:
        DemonstrationError: the other column's turns lack the question, and end with another one.
    """
    column = row.first(*TURNS) or ""
    value = row.peek(column)
    value = value_of(value) if isinstance(value, str) else value
    if not isinstance(value, list) or not is_message_list(value):
        return prompt
    messages, _ = prompt_from(value, column)
    if isinstance(messages, str):
        return prompt
    row.take(column)
    wanted = ("user", prompt.strip())
    asked = [i for i, turn in enumerate(messages) if (turn.role, turn.content.strip()) == wanted]
    if asked:
        return messages[: asked[-1] + 1] if asked[-1] else prompt
    if messages[-1].role == "user":
        raise DemonstrationError(
            f"the messages in the column {column!r} lack the question {prompt!r:.40}, and end with another "
            "one: name the column of the prompt by --columns prompt=..."
        )
    return (*messages, Message("user", prompt))


def context_of(row: Row) -> str | None:
    """Takes the text of a row's context."""
    return _taken(row, _CONTEXT)


def _taken(row: Row, names: tuple[str, ...]) -> str | None:
    """Returns the first of these columns with a text: a text, an object with a text, or a list of them."""
    for name in names:
        text = _text_of(row.peek(name))
        if text is not None:
            row.take(name)
            return text
    return None


def _text_of(value: Any) -> str | None:
    if isinstance(value, list):
        parts = [text for item in value if (text := _text_of(item)) is not None]
        return "\n\n".join(parts) or None
    if isinstance(value, Mapping):
        found = next((value[key] for key in _TEXTS if isinstance(value.get(key), str)), None)
        title = value.get("title")
        return f"{title}\n{found}" if found and isinstance(title, str) and title else found
    return value if isinstance(value, str) and value.strip() else None


def _history(value: Any) -> tuple[Message, ...]:
    """Returns the turns before the question: messages, a text of turns, or pairs of question and answer."""
    if isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)
        for pair in value
    ):
        return tuple(Message(role, text) for pair in value for role, text in zip(_TURN, pair, strict=True))
    if isinstance(value, list) and value and all(isinstance(turn, Mapping) for turn in value):
        sides = next((keys for keys in _EXCHANGES if all(keys <= turn.keys() for turn in value)), None)
        if sides is not None:
            return tuple(
                Message(role, str(turn[key]))
                for turn in value
                for role, key in zip(_TURN, _EXCHANGES[sides], strict=True)
            )
    if isinstance(value, list) and value and all(isinstance(text, str) for text in value):
        return tuple(Message("assistant" if i % 2 else "user", text) for i, text in enumerate(value))
    if not value or (isinstance(value, str) and not value.strip()):
        return ()
    turns, _ = prompt_from(value, "history")
    if isinstance(turns, str):
        return (Message("user", turns),)
    return turns
