"""Shapes with two answers and a verdict; `VERDICTS` has one entry for each shape."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.files.shapes.outcome import Ballot, Outcome, Skipped
from icdpo_chains.demonstrations.files.shapes.prompts import context_of, has_prompt, prompt_of, with_system
from icdpo_chains.demonstrations.files.shapes.row import Row
from icdpo_chains.demonstrations.files.shapes.values import answer_from, joined, single_text
from icdpo_chains.errors import DemonstrationError

__all__ = ["VERDICTS", "Verdict", "has_two_answers"]

_STEMS = (
    *("response", "answer", "output", "completion", "candidate", "conversation", "generation", "reply"),
    *("text", "option", "human_ref", "summary", "model_output", "assistant", "message", "result"),
)
_ENDS = (("a", "b"), ("0", "1"), ("1", "2"), ("left", "right"), ("first", "second"), ("x", "y"))
_STEMMED = tuple(f"{stem}{link}" for stem in _STEMS for link in ("_", ""))
_ANSWERS = (*((stem + one, stem + other) for one, other in _ENDS for stem in _STEMMED), ("left", "right"))
_COLUMNS = (
    *("winner", "verdict", "preference", "preferred", "better", "better_response_id", "better_response"),
    *("preferred_response", "preferred_answer", "overall_preference", "human_preference", "choice"),
    *("chosen", "best", "best_response", "selected", "vote", "label", "labels", "judgement", "judgment"),
    *("choose_best", "which_is_better", "better_answer", "selected_response", "selected_option"),
    *("safer_response_id", "annotation", "pw", "pairwise"),
)
_TIES = frozenset(
    (
        *("tie", "draw", "both", "neither", "equal", "same", "none", "no_preference"),
        *(
            "both_equal",
            "equally_good",
            "about_the_same",
            "both_good",
            "both_bad",
            "bothbad",
            "tie_bothbad",
            "tied",
        ),
    )
)
_ORDER = re.compile(r"\[*([a-z]|\d)\s*(>{1,3}|<{1,3}|=)\s*([a-z]|\d)\]*\Z", re.IGNORECASE)
"""A verdict such as `A>B`."""
_SIDES = {"left": 0, "first": 0, "right": 1, "second": 1}
_NAMED = re.compile(
    r"(?:(?:response|answer|output|completion|candidate|conversation|generation|reply|text|option|human_ref|ref"
    r"|summary|model|model_output|assistant|message|result|chatbot|bot|agent|side|system|chosen|winner)_?)?"
    r"([a-z]|\d|left|right|first|second)(?:_(?:response|answer|output|option|model|side))?"
    r"(?:_(?:is|wins?)(?:_(?:much|far|clearly|significantly|slightly|somewhat|a_bit|a_little))?(?:_better)?)?\Z"
)
"""A verdict that names an answer: `model_a`, `Response 1`, `left`; not "better than b"."""


@dataclass(frozen=True)
class Verdict:
    """Two answers, and a column that names the better answer.

    Attributes:
        name: the shape's name.
        columns: a description of the columns, for the documentation.
        answers: the possible pairs of columns with the answers.
        verdict: the possible names of the column with the verdict.
        decide: returns the position of the better answer, 0 or 1, or `None` for a tie; by default the verdict
            names the answer, or is a number that only the whole file explains, see `Ballot`.
    """

    name: str
    columns: str
    answers: tuple[tuple[str, str], ...] = _ANSWERS
    verdict: tuple[str, ...] = _COLUMNS
    decide: Callable[[Row, str, tuple[str, str]], int | None] | None = None

    def fits(self, row: Row) -> bool:
        """Whether the row has the columns."""
        return any(row.has(one) and row.has(other) for one, other in self.answers) and row.has(*self.verdict)

    def complete(self, row: Row) -> bool:
        """Whether the columns are not null and the row has no pair of chosen and rejected answers."""
        verdict = row.first(*self.verdict)
        return (
            self._pair(row) is not None
            and verdict is not None
            and not (verdict in ("chosen", "winner") and row.first("rejected", "loser") is not None)
        )

    def read(self, row: Row, *, verdict: tuple[str, str] | None = None) -> list[Outcome]:
        """Returns a demonstration, the reason for a tie, or a ballot that waits for the other rows.

        Args:
            row: the row.
            verdict: the verdicts for the first and for the second answer, if the caller names them.

        Raises:
            DemonstrationError: the verdict names neither answer, or a value is invalid.
        """
        answers, column = self._pair(row) or ("", ""), row.first(*self.verdict) or ""
        decided: int | str | None
        if self.decide is not None:
            decided = self.decide(row, column, answers)
        elif verdict is not None:
            value = _verdict_text(row.peek(column))
            decided = verdict.index(value) if value in verdict else None
        else:
            decided = _by_name(row, column, answers)
        if decided is None:
            return [Skipped("a tie")]
        row.take(column)
        best = decided if isinstance(decided, int) else 0
        values = [single_text(row.take(name)) for name in answers]
        prompt, marked = prompt_of(row) if has_prompt(row, filled=True) else (None, False)
        if isinstance(prompt, str):
            prompt = single_text(prompt)
        sides = {"chosen": values[best], "rejected": values[1 - best]}
        read = {side: answer_from(value, side, marked=marked) for side, value in sides.items()}
        whole = joined(prompt, {side: turns for side, (turns, _) in read.items()})
        if prompt is None:
            whole = with_system(whole, row, context_of(row))
        chosen, rejected = read["chosen"][1], read["rejected"][1]
        if chosen.strip() == rejected.strip():
            return [Skipped("the two answers are the same")]
        pair = Demonstration(whole, chosen, rejected, row.metadata(chosen, rejected))
        if isinstance(decided, str):
            return [Ballot(pair, decided, column, answers, _ends(answers))]
        return [pair]

    def _pair(self, row: Row) -> tuple[str, str] | None:
        for one, other in self.answers:
            if row.peek(one) is not None and row.peek(other) is not None:
                return one, other
        return None


def has_two_answers(names: Iterable[str]) -> bool:
    """Whether two of the columns contain the answers to compare."""
    row = Row(dict.fromkeys(names))
    return any(row.has(one) and row.has(other) for one, other in _ANSWERS)


def _by_name(row: Row, column: str, answers: tuple[str, str]) -> int | str | None:
    """Reads a verdict that names the answer by its letter or number, its column, its model, or its text."""
    value = row.peek(column)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, Mapping):  # Argilla's and Label Studio's flat exports
        value = value.get("selected", value.get("value", value.get("choice")))
    text = _verdict_text(value)
    for position, name in enumerate(answers):
        if isinstance(value, str) and len(value) > 1 and value == row.peek(name):
            return position
    ends = _ends(answers)
    for position, end in enumerate(ends):
        model = row.peek(f"model_{end}")
        if isinstance(value, str) and isinstance(model, str) and value == model:
            return position
    if text is not None and (found := _ORDER.match(text)) and {found[1].lower(), found[3].lower()} == {*ends}:
        better = found[1] if found[2][0] == ">" else found[3]
        return None if found[2] == "=" else ends.index(better.lower())
    if text is not None and re.fullmatch(r"-?\d+(?:\.\d+)?", text):
        return text
    if text is not None:
        word = re.sub(r"[\W_]+", "_", text).strip("_").lower()
        if word in _TIES:
            return None
        found = _NAMED.match(word)
        if found and found[1] in ends:
            return ends.index(found[1])
        if found and found[1] in _SIDES and ends != ("x", "y"):
            return _SIDES[found[1]]
    raise DemonstrationError(
        f"the verdict {value!r:.40} in the column {column!r} names neither {answers[0]!r} nor {answers[1]!r}:"
        " name the verdicts for the two, for instance --verdict A,B"
    )


def _verdict_text(value: Any) -> str | None:
    """A verdict as text, numbers without a fraction of zero; `None` for other values."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return str(value).lower() if isinstance(value, bool) else None
    return re.sub(r"\.0+\Z", "", str(value).strip())


def _ends(answers: tuple[str, str]) -> tuple[str, str]:
    """What tells the names of two answers apart: `("a", "b")`, `("0", "1")`, ..."""
    return next(pair for pair in _ENDS if all(n.endswith(e) for n, e in zip(answers, pair, strict=True)))


def _shp(row: Row, column: str, answers: tuple[str, str]) -> int | None:
    """SHP's `labels`: 1 means that the first answer is preferred."""
    value = row.peek(column)
    text = _verdict_text(value)
    if text not in ("0", "1"):
        raise DemonstrationError(f"the verdict {value!r:.40} in the column {column!r} is neither 0 nor 1")
    return 1 - int(text)


def _signed(row: Row, column: str, answers: tuple[str, str]) -> int | None:
    """HelpSteer3's `overall_preference`: -3 to 3, below 0 for the first answer."""
    value = _number(row.peek(column), column)
    return None if value == 0 else int(value > 0)


def _scores(row: Row, column: str, answers: tuple[str, str]) -> int | None:
    """A score for each answer: the higher one is better."""
    word = next(word for word in _WORTH if column.startswith(f"{word}_"))
    names = [f"{word}_{end}" for end in _ends(answers)]
    if any(row.peek(name) is None for name in names):
        raise DemonstrationError(
            f"the answers {answers[0]!r} and {answers[1]!r} need {names[0]!r} and {names[1]!r}"
        )
    scores = [_number(row.take(name), name) for name in names]
    return None if scores[0] == scores[1] else int((scores[1] > scores[0]) != (word == "rank"))


def _flags(row: Row, column: str, answers: tuple[str, str]) -> int | None:
    """A column for each answer that is 1 if the answer wins, and perhaps a column for ties."""
    flags = [_number(row.take(name), name) for name in ("winner_model_a", "winner_model_b")]
    row.take("winner_tie")
    return None if flags[0] == flags[1] else int(flags[1] > flags[0])


def _number(value: Any, column: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise DemonstrationError(f"{value!r:.40} in the column {column!r} is not a number")
    return number


_WORTH = ("score", "rating", "votes", "upvotes", "reward", "overall_score", "rank")

VERDICTS = (
    Verdict(
        "two answers and flags (LMSYS)",
        "prompt; response_a; response_b; winner_model_a; winner_model_b; winner_tie",
        verdict=("winner_model_a",),
        decide=_flags,
    ),
    Verdict(
        "SHP",
        "history; human_ref_A; human_ref_B; labels (1: A)",
        answers=(("human_ref_a", "human_ref_b"),),
        verdict=("labels", "label"),
        decide=_shp,
    ),
    Verdict(
        "HelpSteer3",
        "context or prompt; response1; response2; overall_preference (-3 to 3; below 0: the first)",
        answers=(("response1", "response2"), ("response_1", "response_2")),
        verdict=("overall_preference", "preference_strength"),
        decide=_signed,
    ),
    Verdict(
        "two answers and a verdict",
        "prompt; response_a and response_b (answer_0, output_1, conversation_a, ...); winner, preference, "
        "chosen, better_response_id, ...",
    ),
    Verdict(
        "two answers and two scores",
        "prompt; answer_0; answer_1; score_0; score_1 (WebGPT)",
        verdict=tuple(f"{word}_{one}" for word in _WORTH for one, _ in _ENDS),
        decide=_scores,
    ),
)
