"""`pointed_at`: the answers of a row whose `chosen` and `rejected` only name them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from icdpo_chains.demonstrations.files.shapes.row import Row, normal
from icdpo_chains.errors import DemonstrationError

__all__ = ["ANSWER_WORDS", "alternatives", "check_names", "pointed_at"]

ANSWER_WORDS = ("response", "answer", "output", "completion", "text", "messages", "message", "reply")
_LISTS = ("answers", "responses", "completions", "outputs", "candidates", "generations", "options")
_LONGEST_NAME = 100


def pointed_at(row: Row, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the answers of columns that name them by a model, a letter or a position."""
    given = {side: value for side, value in values.items() if value is not None}
    targets = {side: target for side, value in given.items() if (target := _named(row, value))}
    if targets and targets.keys() == given.keys():
        for column, _ in targets.values():
            row.take(column)
        return {**values, **{side: answer for side, (_, answer) in targets.items()}}
    unresolved = [value for value in given.values() if _is_name(value) and not _held(row, value)]
    if len(unresolved) == len(given) and any(row.peek(name) is not None for name in _LISTS):
        raise DemonstrationError(
            f"the row names its answers by {', '.join(map(repr, given.values()))}, and its list of answers "
            "has no such name"
        )
    if any(isinstance(value, int) for value in given.values()):
        raise DemonstrationError(
            f"the row names its answers by {', '.join(map(repr, given.values()))}, and no column has them"
        )
    return dict(values)


def alternatives(value: Any) -> list[Any]:
    """Returns the answers in a value: usually one; for a list of texts, each text."""
    if value is None:
        return []
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return value
    return [value]


def check_names(prompt: Any, values: Mapping[str, Any], *, strict: bool) -> None:
    """Refuses two answers that look like the names of answers: A and B, or with `strict` any two words.

    The letters of a question with options, such as `A) ...`, are answers.

    Raises:
        DemonstrationError: the answers look like names.
    """
    given = [value.strip() if isinstance(value, str) else "" for value in values.values()]
    asked = prompt if isinstance(prompt, str) else "\n".join(turn.content for turn in prompt or ())
    letters = {*given} == {"A", "B"} and not all(re.search(rf"\b{name}[).:\]]", asked) for name in given)
    if letters or (strict and all(text and text.isascii() and _is_name(text) for text in given)):
        raise DemonstrationError(
            f"{' and '.join(map(repr, given))} look like names of answers, and no column has these: give the "
            "texts in columns 'chosen' and 'rejected'"
        )


def _is_name(value: Any) -> bool:
    """Whether a value looks like a name: a short text without spaces."""
    return isinstance(value, str) and len(value) <= _LONGEST_NAME and not any(map(str.isspace, value))


def _held(row: Row, value: str) -> bool:
    """Whether a list of answers has this text itself."""
    return any(value in held for name in _LISTS if isinstance(held := row.peek(name), list))


def _named(row: Row, value: Any) -> tuple[str, Any] | None:
    """Returns the column and the answer for the name in a short text or a number."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    if isinstance(value, str) and not 0 < len(value) <= _LONGEST_NAME:
        return None
    for name in row.names:
        held = row.peek(name)
        if isinstance(held, Mapping) and name != "metadata":
            key = next((key for key in held if str(key).strip().lower() == str(value).strip().lower()), None)
            if key is not None:
                return name, held[key]
        if name in _LISTS and isinstance(held, list):
            if isinstance(value, int):
                return (name, held[value]) if 0 <= value < len(held) else None
            for item in held:
                if isinstance(item, Mapping) and value in (
                    item.get("model"),
                    item.get("id"),
                    item.get("name"),
                ):
                    return name, item
    wanted = normal(str(value))
    models = [name for name in row.names if name.startswith("model_") and row.peek(name) == value]
    if len(models) == 1:
        wanted = models[0].removeprefix("model_")  # `model_a` beside `response_a`
    columns = [
        wanted,
        *(f"{word}_{wanted}" for word in ANSWER_WORDS),
        *(f"{word}{wanted}" for word in ANSWER_WORDS),
    ]
    for column in columns:
        held = row.peek(column)
        if wanted and held is not None and not isinstance(held, (int, float)) and held is not value:
            return column, held
    return None
