"""Shapes with a chosen and a rejected answer in separate columns; `PAIRS` has one entry for each shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.files.shapes.prompts import TURNS, has_prompt, prompt_of, with_system
from icdpo_chains.demonstrations.files.shapes.row import Outcome, Row, normal
from icdpo_chains.demonstrations.files.shapes.values import Turns, answer_from, joined, prompt_from
from icdpo_chains.errors import DemonstrationError, UnknownFormatError

__all__ = ["PAIRS", "Pair"]

_WORDS = ("response", "answer", "output", "completion", "text", "messages", "message", "reply")
_LISTS = ("answers", "responses", "completions", "outputs", "candidates", "generations", "options")
_LONGEST_NAME = 100


@dataclass(frozen=True)
class Pair:
    """A chosen and a rejected answer, in two columns.

    Attributes:
        name: the shape's name.
        columns: a description of the columns, for the documentation.
        chosen: the possible names of the column with the chosen answer.
        rejected: the possible names of the column with the rejected answer.
        alone: whether one of the two answers may be missing.
        prompt: `"column"` (a prompt column), `"inside"` (each answer contains the turns before it), or
            `"answered"` (messages that end with the chosen answer).
    """

    name: str
    columns: str
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]
    alone: bool = False
    prompt: str = "column"

    def fits(self, row: Row) -> bool:
        """Whether the row has the columns."""
        chosen, rejected = row.has(*self.chosen), row.has(*self.rejected)
        if self.prompt == "answered":
            return rejected and not chosen and row.has(*TURNS)
        sides = (chosen or rejected) if self.alone else (chosen and rejected)
        return sides and (self.prompt == "inside" or has_prompt(row))

    def complete(self, row: Row) -> bool:
        """Whether the columns are not null."""
        chosen, rejected = row.first(*self.chosen), row.first(*self.rejected)
        if self.prompt == "answered":
            return rejected is not None and _ends_with_answer(row)
        if self.prompt == "inside":
            return chosen is not None and rejected is not None
        return (chosen is not None or rejected is not None) and has_prompt(row, filled=True)

    def read(self, row: Row) -> list[Outcome]:
        """Returns one demonstration, or several for several rejected answers.

        Raises:
            UnknownFormatError: the answers are texts from which the prompt can't be separated.
            DemonstrationError: a value is invalid.
        """
        names = {"chosen": row.first(*self.chosen), "rejected": row.first(*self.rejected)}
        values = {side: None if name is None else row.take(name) for side, name in names.items()}
        values = _pointed_at(row, values)
        if self.prompt == "inside":
            _check_dialogues(values)
        prompt, marked = (None, False) if self.prompt == "inside" else prompt_of(row)
        if self.prompt == "answered" and prompt is not None:
            prompt, values["chosen"] = _split(prompt)
        elif isinstance(prompt, tuple) and prompt[-1].role == "assistant":
            prompt = _without_answer(prompt, values["chosen"])
        chosen = _alternatives(values["chosen"])
        rejected = [value for value in _alternatives(values["rejected"]) if not _blank(value)]
        sides = [(one, other) for one in chosen[:1] or [None] for other in rejected or [None]]
        sides += [(one, other) for one in chosen[1:] for other in rejected[:1] or [None]]
        return [self._one(row, prompt, marked, one, other) for one, other in sides]

    def _one(self, row: Row, prompt: Any, marked: bool, chosen: Any, rejected: Any) -> Demonstration:
        before: dict[str, Turns] = {}
        texts: dict[str, str] = {}
        for side, value in (("chosen", chosen), ("rejected", rejected)):
            if value is not None:
                before[side], texts[side] = answer_from(value, side, marked=marked)
        whole = joined(prompt, before)
        if prompt is None:
            whole = with_system(whole, row)
        first, second = texts.get("chosen"), texts.get("rejected")
        if first is not None and second is not None and first.strip() == second.strip() != "":
            raise DemonstrationError(
                "the chosen and the rejected answer are the same, or differ only in white space, which "
                f"states no preference: {first!r:.60}"
            )
        return Demonstration(whole, first, second, row.metadata(first, second))


def _names(stems: tuple[str, ...]) -> tuple[str, ...]:
    """`chosen`, `chosen_response`, `response_chosen`, ..."""
    words = [f"{stem}_{word}" for stem in stems for word in _WORDS]
    return (*stems, *words, *(f"{word}_{stem}" for stem in stems for word in _WORDS[:-2]))


_CHOSEN, _REJECTED = _names(("chosen",)), _names(("rejected",))

PAIRS = (
    Pair(
        "correction",
        "prompt, answer, correction",
        chosen=("correction", "corrected", *_names(("corrected", "edited"))[2:]),
        rejected=("answer", "response", "output", "completion", "original"),
    ),
    Pair(
        "messages with the answer",
        "messages that end with the chosen answer; rejected_response",
        _CHOSEN,
        _names(("rejected", "dispreferred", "non_preferred")),
        prompt="answered",
    ),
    Pair(
        "explicit prompt (TRL)",
        "prompt, question, instruction (+ input), messages, conversations, ...; chosen; rejected",
        _CHOSEN,
        _REJECTED,
        alone=True,
    ),
    Pair(
        "implicit prompt",
        "chosen; rejected; each a whole dialogue, as messages or as a text of turns (HH-RLHF)",
        _CHOSEN,
        _REJECTED,
        prompt="inside",
    ),
    Pair(
        "preferred output (OpenAI)",
        "input (messages); preferred_output; non_preferred_output",
        _names(("preferred",)),
        (*_names(("non_preferred", "dispreferred", "unpreferred", "rejected")), "other", "other_response"),
    ),
    Pair(
        "winner and loser",
        "prompt; winner; loser",
        _names(("winner", "winning", "win")),
        _names(("loser", "losing", "lose")),
    ),
    Pair("better and worse", "prompt; better; worse", _names(("better", "best")), _names(("worse", "worst"))),
    Pair(
        "good and bad",
        "prompt; good; bad",
        _names(("good", "positive", "accepted", "liked")),
        _names(("bad", "negative", "rejected", "disliked")),
    ),
    Pair("Stack Exchange pairs", "question; response_j; response_k", ("response_j",), ("response_k",)),
    Pair(
        "y_w and y_l",
        "prompt; y_w; y_l",
        ("y_w", "response_w", "chosen_y"),
        ("y_l", "response_l", "rejected_y"),
    ),
)


def _alternatives(value: Any) -> list[Any]:
    """Returns the answers in a value: usually one; for a list of texts, each text."""
    if value is None:
        return []
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return value
    return [value]


def _blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def _pointed_at(row: Row, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the answers of columns that name them by a model, a letter or a position."""
    given = {side: value for side, value in values.items() if value is not None}
    targets = {side: target for side, value in given.items() if (target := _named(row, value))}
    if targets and targets.keys() == given.keys():
        for column, _ in targets.values():
            row.take(column)
        return {**values, **{side: answer for side, (_, answer) in targets.items()}}
    if any(isinstance(value, int) for value in given.values()):
        raise DemonstrationError(
            f"the row names its answers by {', '.join(map(repr, given.values()))}, and no column holds them"
        )
    return dict(values)


def _named(row: Row, value: Any) -> tuple[str, Any] | None:
    """Returns the column and the answer for the name in a short text or a number."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    if isinstance(value, str) and not 0 < len(value) <= _LONGEST_NAME:
        return None
    for name in row.names:
        held = row.peek(name)
        if isinstance(held, Mapping) and str(value) in held and name != "metadata":
            return name, held[str(value)]
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
    columns = [wanted, *(f"{word}_{wanted}" for word in _WORDS), *(f"{word}{wanted}" for word in _WORDS)]
    for column in columns:
        held = row.peek(column)
        if wanted and held is not None and not isinstance(held, (int, float)) and held is not value:
            return column, held
    return None


def _ends_with_answer(row: Row) -> bool:
    messages = row.peek(row.first(*TURNS) or "")
    last = messages[-1] if isinstance(messages, list) and messages else None
    role = (last.get("role") or last.get("from")) if isinstance(last, Mapping) else None
    return role in ("assistant", "gpt", "model")


def _split(prompt: Any) -> tuple[Any, Any]:
    """Removes the answer from messages that end with it."""
    if isinstance(prompt, str) or prompt[-1].role != "assistant":
        raise DemonstrationError(
            "the row has only a rejected answer, and its messages do not end with the chosen one: give "
            "a column 'chosen'"
        )
    return prompt[:-1], prompt[-1].content


def _without_answer(prompt: Turns, chosen: Any) -> Turns:
    """Returns messages without a last message that repeats the chosen answer."""
    repeated = chosen is not None and answer_from(chosen, "chosen")[1].strip() == prompt[-1].content.strip()
    return prompt[:-1] if repeated else prompt


def _check_dialogues(values: Mapping[str, Any]) -> None:
    """Refuses texts without turns, in which the end of the prompt is unknown."""
    for side, value in values.items():
        if isinstance(value, str) and value.strip():
            turns, marked = prompt_from(value, side)
            if value.lstrip().startswith(("Human:", "User:")) and not marked:
                raise DemonstrationError(
                    f"the {side} dialogue ends with a user turn: it must end with the assistant's"
                )
            if isinstance(turns, str) and not marked:
                raise UnknownFormatError(
                    f"the {side} text does not begin with 'Human:' or another mark of a turn, so its "
                    "prompt can't be separated from the answer: give the prompt in a column 'prompt'"
                )
