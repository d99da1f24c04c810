"""Shapes with a chosen and a rejected answer in separate columns; `PAIRS` has one entry for each shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.files.shapes.dialogue import value_of
from icdpo_chains.demonstrations.files.shapes.outcome import Outcome
from icdpo_chains.demonstrations.files.shapes.pointers import (
    ANSWER_WORDS,
    alternatives,
    check_names,
    pointed_at,
)
from icdpo_chains.demonstrations.files.shapes.prompts import (
    PROMPT,
    TURNS,
    context_of,
    has_prompt,
    prompt_of,
    with_system,
)
from icdpo_chains.demonstrations.files.shapes.row import Row
from icdpo_chains.demonstrations.files.shapes.values import (
    Turns,
    answer_from,
    is_message_list,
    joined,
    prompt_from,
)
from icdpo_chains.errors import DemonstrationError, UnknownFormatError

__all__ = ["PAIRS", "Pair"]

_SHORTEST_PROMPT = 8
"""A shorter prompt could begin both answers by chance."""


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
        whole: whether a row with one of the two answers is another shape's.
        unless: a row with one of these columns is another shape's.
    """

    name: str
    columns: str
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]
    alone: bool = False
    prompt: str = "column"
    whole: bool = False
    unless: tuple[str, ...] = ()

    def fits(self, row: Row) -> bool:
        """Whether the row has the columns."""
        chosen, rejected = row.has(*self.chosen), row.has(*self.rejected)
        if self.prompt == "answered":
            return rejected and not chosen and row.has(*TURNS)
        if row.has(*self.unless):
            return False
        sides = (chosen or rejected) if self.alone else (chosen and rejected)
        return sides and (self.prompt == "inside" or has_prompt(row))

    def complete(self, row: Row) -> bool:
        """Whether the columns are not null."""
        chosen, rejected = row.first(*self.chosen), row.first(*self.rejected)
        if any(isinstance(row.peek(name or ""), bool) for name in (chosen, rejected)):
            return False  # a flag of one answer
        if self.prompt == "answered":
            return rejected is not None and _ends_with_answer(row)
        if self.prompt == "inside":
            return chosen is not None and rejected is not None
        if self.whole and (None in (chosen, rejected) or _blank(row.peek(chosen or ""))):
            return False
        if row.first(*PROMPT, *TURNS) is None and _is_dialogue(row.peek(chosen or "")):
            return False  # a context beside whole dialogues
        return (chosen is not None or rejected is not None) and has_prompt(row, filled=True)

    def halved(self, row: Row) -> bool:
        """Whether one of the two answers is missing."""
        return self.alone and None in (row.first(*self.chosen), row.first(*self.rejected))

    def read(self, row: Row) -> list[Outcome]:
        """Returns one demonstration, or several for several rejected answers.

        Raises:
            UnknownFormatError: the answers are texts from which the prompt can't be separated.
            DemonstrationError: a value is invalid.
        """
        names = {"chosen": row.first(*self.chosen), "rejected": row.first(*self.rejected)}
        values = {side: None if name is None else row.take(name) for side, name in names.items()}
        if names["rejected"] in _MANY and isinstance(values["rejected"], str):
            raise DemonstrationError(
                f"the column {names['rejected']!r} has a text in place of a list: give one answer "
                "in 'rejected'"
            )
        values = pointed_at(row, values)
        if self.prompt == "inside":
            _check_dialogues(values)
        prompt, marked = (None, False) if self.prompt == "inside" else prompt_of(row)
        if self.prompt == "answered" and prompt is not None:
            prompt, values["chosen"] = _split(prompt)
        elif isinstance(prompt, tuple) and prompt[-1].role == "assistant":
            prompt = _without_answer(prompt, values)
        values = _without_prompt(prompt, values)
        check_names(prompt, values, strict=names["chosen"] == "winner")
        chosen = alternatives(values["chosen"])
        rejected = [value for value in alternatives(values["rejected"]) if not _blank(value)]
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
            whole = with_system(whole, row, context_of(row))
        first, second = texts.get("chosen"), texts.get("rejected")
        if first is not None and second is not None and first.strip() == second.strip() != "":
            raise DemonstrationError(
                "the chosen and the rejected answer are the same, or differ only in white space, which "
                f"states no preference: {first!r:.60}"
            )
        return Demonstration(whole, first, second, row.metadata(first, second))


def _names(stems: tuple[str, ...]) -> tuple[str, ...]:
    """`chosen`, `chosen_response`, `response_chosen`, ..."""
    words = [f"{stem}_{word}" for stem in stems for word in ANSWER_WORDS]
    return (*stems, *words, *(f"{word}_{stem}" for stem in stems for word in ANSWER_WORDS[:-2]))


_MANY = ("incorrect_answers", "rejected_responses", "rejected_answers", "rejected_completions")
"""Lists of answers; a text in them may join several."""

_CHOSEN, _REJECTED = _names(("chosen",)), (*_names(("rejected",)), *_MANY[1:])

# Words of several shapes: a file may write "accepted" beside "rejected".
_ANY_CHOSEN = _names(
    (
        *("chosen", "preferred", "winner", "winning", "better", "best", "good"),
        *("positive", "pos", "accepted", "liked", "correct", "safe"),
    )
)
_BAD_WORDS = (
    *("rejected", "dispreferred", "non_preferred", "unpreferred", "loser", "losing", "worse", "worst"),
    *("bad", "negative", "neg", "disliked", "incorrect", "unsafe", "best_incorrect"),
)
_ANY_REJECTED = (*_names(_BAD_WORDS), *_MANY)

PAIRS = (
    Pair(
        "correction",
        "prompt, answer, correction",
        chosen=("correction", "corrected", *_names(("corrected", "edited"))[2:]),
        rejected=("answer", "response", "output", "completion", *_names(("original",))),
        whole=True,
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
        _names(("good", "positive", "pos", "accepted", "liked")),
        _names(("bad", "negative", "neg", "rejected", "disliked")),
    ),
    Pair("Stack Exchange pairs", "question; response_j; response_k", ("response_j",), ("response_k",)),
    Pair(
        "y_w and y_l",
        "prompt; y_w; y_l",
        ("y_w", "response_w", "chosen_y"),
        ("y_l", "response_l", "rejected_y"),
    ),
    Pair(
        "answer and rejected",
        "prompt; response, answer, output or completion; rejected_response (ms-swift), rejected",
        chosen=("response", "answer", "output", "completion"),
        rejected=_REJECTED,
        whole=True,
        unless=_CHOSEN,
    ),
    Pair(
        "mixed names",
        "prompt; one of chosen, accepted, preferred, winner, ...; one of rejected, negative, loser, ...",
        _ANY_CHOSEN,
        _ANY_REJECTED,
    ),
)


def _blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def _is_dialogue(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 1 and is_message_list(value)


def _ends_with_answer(row: Row) -> bool:
    messages = row.peek(row.first(*TURNS) or "")
    messages = value_of(messages) if isinstance(messages, str) else messages
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


def _without_prompt(prompt: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns answers without the prompt, if both are texts that repeat it before the answer."""
    texts = list(values.values())
    if not isinstance(prompt, str) or len(prompt) < _SHORTEST_PROMPT:
        return dict(values)
    if not all(isinstance(t, str) and t.startswith(prompt) and t[len(prompt) :][:1].isspace() for t in texts):
        return dict(values)
    return {side: text[len(prompt) :].strip() for side, text in values.items()}


def _without_answer(prompt: Turns, values: Mapping[str, Any]) -> Turns:
    """Returns messages without a last message that repeats one of the answers."""
    last = prompt[-1].content.strip()
    given = [value for side in values.values() for value in alternatives(side)]
    return prompt[:-1] if any(answer_from(v, "last")[1].strip() == last for v in given) else prompt


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
