r"""Shapes: how a row of a preference file becomes a `Demonstration`, told by its columns.

::

    explicit prompt   prompt + chosen, rejected or both     strings, or messages (TRL)
    ShareGPT          conversations + the same              "from" and "value"; maybe `system`
    implicit prompt   chosen + rejected                     message lists with the same beginning
    transcripts       chosen + rejected                     texts of "\n\nHuman: ...\n\nAssistant: ..." turns

Where a row has the columns of several shapes, the first in this table whose column is not null counts. The
object in the `metadata` column becomes the demonstration's metadata. So do columns of other names, as far
as they hold a string, a finite number, a boolean or a date (in ISO format); lists, objects, bytes, NaN and
null there are left out. Where both name the same thing, `metadata` counts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any, TypeAlias

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.errors import DemonstrationError, InvalidInputError, UnknownFormatError
from icdpo_chains.messages import Message, as_conversation

__all__ = ["SHAPE_COLUMNS", "check_columns", "demonstration_from_row", "is_message_list"]

SHAPE_COLUMNS = frozenset({"prompt", "chosen", "rejected", "conversations", "metadata"})
"""The columns that may hold more than text or a number."""

_KNOWN_SHAPES = (
    "prompt + chosen, rejected or both; chosen + rejected, as message lists or as Human:/Assistant: "
    "transcripts; "
    "conversations + chosen, rejected or both, ShareGPT"
)
_SHAREGPT_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "observation": "tool",
    "function": "tool",
    "function_response": "tool",
    "tool_response": "tool",
}
_HH_MARKER = re.compile(r"\n\n(Human|Assistant):")
_HH_ROLES = {"Human": "user", "Assistant": "assistant"}

_Messages: TypeAlias = tuple[Message, ...]


def demonstration_from_row(row: object) -> Demonstration:
    """Builds a demonstration from one row of a preference file, in any of this module's shapes.

    Text is kept exactly as it stands in the row; only a transcript's turns are stripped of white space.

    Args:
        row: the row's values by column.

    Raises:
        UnknownFormatError: the columns fit no known shape.
        DemonstrationError: a value can't be used: a missing, blank or doubled answer, an answer of several
            messages, an unknown role, two sides that do not share their prompt, and so on.
    """
    if not isinstance(row, Mapping):
        raise DemonstrationError(
            f"the row is a {type(row).__name__}, not an object with columns: {row!r:.60}"
        )
    check_columns(row)
    system_used = False
    prompt: str | _Messages
    try:
        if row.get("prompt") is not None:
            prompt = row["prompt"] if isinstance(row["prompt"], str) else _messages(row["prompt"], "prompt")
        elif row.get("conversations") is not None:
            prompt = _messages(row["conversations"], "conversations")
            system = row.get("system")
            if isinstance(system, str) and system.strip() and prompt[0].role != "system":
                prompt, system_used = (Message("system", system), *prompt), True
        else:
            return Demonstration(*_two_sides(row), _metadata(row))
        chosen, rejected = (
            None if row.get(name) is None else _answer(row[name], name, prompt)
            for name in ("chosen", "rejected")
        )
        return Demonstration(
            prompt, chosen, rejected, _metadata(row, without="system" if system_used else None)
        )
    except (InvalidInputError, TypeError) as error:
        raise DemonstrationError(str(error)) from None
    except RecursionError:
        raise DemonstrationError("the row is nested too deeply") from None


def check_columns(columns: Iterable[str]) -> None:
    """Checks that a row with these columns can be a demonstration.

    Raises:
        UnknownFormatError: they fit no known shape.
    """
    names = list(columns)
    answers = {"chosen", "rejected"}.intersection(names)
    if not answers or (len(answers) < 2 and not {"prompt", "conversations"}.intersection(names)):
        seen = ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")
        raise UnknownFormatError(
            f"the columns fit no known shape: {seen or 'none at all'}. Rename them to one of: {_KNOWN_SHAPES}"
        )


def is_message_list(value: object) -> bool:
    """Whether `value` is one message, or a list of at least one, in either way of writing them."""
    items = value if isinstance(value, list) else [value]
    return bool(items) and all(
        isinstance(item, Mapping) and ({"role", "content"} <= item.keys() or {"from", "value"} <= item.keys())
        for item in items
    )


def _two_sides(row: Mapping[str, Any]) -> tuple[_Messages, str, str]:
    """The prompt and both answers of a row whose two columns each hold a whole dialogue."""
    sides: list[_Messages] = []
    for name in ("chosen", "rejected"):
        value = row.get(name)
        if value is None:
            raise DemonstrationError(
                f"the row has no {name} dialogue, and no prompt column: give both dialogues"
            )
        messages = _transcript(value, name) if isinstance(value, str) else _messages(value, name)
        if messages[-1].role != "assistant":
            raise DemonstrationError(
                f"the {name} dialogue ends with a {messages[-1].role} turn: it must end with the assistant's"
            )
        sides.append(messages)
    chosen, rejected = sides
    if chosen[:-1] != rejected[:-1]:
        pairs = zip(chosen[:-1], rejected[:-1], strict=False)
        turn = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(chosen), len(rejected)) - 1)
        raise DemonstrationError(
            f"the chosen dialogue ({len(chosen)} turns) and the rejected one ({len(rejected)} turns) differ "
            f"from turn {turn + 1} on: they must share everything before the last answer"
        )
    return chosen[:-1], chosen[-1].content, rejected[-1].content


def _transcript(text: str, name: str) -> _Messages:
    """Splits an HH-RLHF dialogue at its markers; what they split is stripped of white space."""
    before, *parts = _HH_MARKER.split("\n\n" + text.lstrip())
    if not parts or before.strip():
        raise DemonstrationError(
            f"the {name} text does not begin with 'Human:' or 'Assistant:', so that its prompt is not known: "
            "give it in a prompt column"
        )
    speakers, turns = parts[::2], parts[1::2]
    return tuple(
        _message(
            {"role": _HH_ROLES[speaker], "content": turn.strip()}, f"turn {i + 1} of the {name} dialogue"
        )
        for i, (speaker, turn) in enumerate(zip(speakers, turns, strict=True))
    )


def _answer(value: Any, name: str, prompt: str | _Messages) -> str:
    """The text of an answer that stands apart from its prompt: a string, or one assistant message."""
    if value is None:
        raise DemonstrationError(f"the row has no {name} answer")
    if isinstance(value, str):
        return value
    *before, answer = _messages([value] if isinstance(value, Mapping) else value, name)
    # UltraFeedback and its kin repeat the whole dialogue there, next to its prompt.
    if before and tuple(before) != as_conversation(prompt):
        raise DemonstrationError(
            f"the {name} answer holds {len(before) + 1} messages: give one assistant message, or the "
            "prompt's own messages and then one"
        )
    if answer.role != "assistant":
        raise DemonstrationError(f"the {name} answer is a {answer.role} message: it must be the assistant's")
    return answer.content


def _messages(value: object, name: str) -> _Messages:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise DemonstrationError(
            f"{name} must be a list of messages, not {type(value).__name__}: {value!r:.60}"
        )
    if not value:
        raise DemonstrationError(f"{name} is an empty list: give at least one message")
    return tuple(_message(item, f"message {i + 1} of {name}") for i, item in enumerate(value))


def _message(item: object, what: str) -> Message:
    if not isinstance(item, Mapping):
        raise DemonstrationError(f"{what} must be an object, not {type(item).__name__}: {item!r:.60}")
    if item.get("from") is not None:
        role, content = item["from"], item.get("value")
        if isinstance(role, str):
            role = _SHAREGPT_ROLES.get(role.lower().replace("-", "_"), role.lower())
    else:
        role, content = item.get("role"), item.get("content")
    if not isinstance(role, str) or not isinstance(content, str):
        raise DemonstrationError(
            f"{what} needs 'role' and 'content', or 'from' and 'value', as strings; it has: "
            + (", ".join(f"{key!r} ({type(part).__name__})" for key, part in item.items()) or "nothing")
        )
    return Message(role, content)  # type: ignore[arg-type]  # which checks the role


def _metadata(row: Mapping[str, Any], without: str | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for name, value in row.items():
        if name == without or (name in SHAPE_COLUMNS and name != "metadata"):
            continue
        scalar = _as_json(value)
        if _is_scalar(scalar):
            metadata[name] = scalar
    given = row.get("metadata")
    if isinstance(given, Mapping):
        metadata.update(_as_json(given))
    return metadata


def _is_scalar(value: object) -> bool:
    return isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value))


def _as_json(value: Any) -> Any:
    """The value as JSON has it; Parquet knows more types. What has no counterpart is returned as it is."""
    if isinstance(value, Mapping):
        return {name: _as_json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, (date, time)) else value
