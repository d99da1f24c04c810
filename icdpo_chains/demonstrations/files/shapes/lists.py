"""Shapes with a list of ranked or rated answers; `LISTS` has one entry for each shape."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.files.shapes.dialogue import text_of_html
from icdpo_chains.demonstrations.files.shapes.opinions import thumb_of
from icdpo_chains.demonstrations.files.shapes.outcome import Outcome, Pointed, Skipped
from icdpo_chains.demonstrations.files.shapes.prompts import has_prompt, prompt_of
from icdpo_chains.demonstrations.files.shapes.row import Row, normal
from icdpo_chains.demonstrations.files.shapes.values import answer_from, joined
from icdpo_chains.errors import DemonstrationError

__all__ = ["LISTS", "AnswerList"]

_COLUMNS = (
    *("answers", "completions", "responses", "generations", "candidates", "outputs", "replies", "options"),
    *("choices", "all_responses", "summaries"),
)
_TEXTS = ("answer", "response", "text", "content", "completion", "output", "body", "generation", "message")
_LOW = ("rank", "ranking", "position")
_HIGH = (
    *("overall_score", "pm_score", "score", "rating", "reward", "votes", "upvotes", "likes"),
    *("fine_grained_score", "helpfulness", "quality"),
)
_PARALLEL_LOW = ("ranks", "rank", "ranking", "rankings")
_PARALLEL_HIGH = ("scores", "ratings", "rewards", "score", "rating", "votes", "upvotes", "likes", "labels")
_POINTER = (
    *("best", "best_index", "chosen", "chosen_index", "choice", "selected", "label", "preferred"),
    *("best_response", "best_answer", "preferred_index", "winner", "winner_index"),
)
_OPINIONS = ("label", "thumb", "thumbs", "feedback", "is_accepted", "accepted", "is_chosen", "chosen")
_FRAGMENT = re.compile(r"\s*<(?:p|pre|div|ul|ol|blockquote|h[1-6]|code|a|br|hr|table)\b[^>]*>", re.IGNORECASE)


@dataclass(frozen=True)
class AnswerList:
    """A prompt and a list of answers with ranks or scores: gives the best against the worst.

    Attributes:
        name: the shape's name.
        columns: a description of the columns, for the documentation.
        pointed: whether a column has the position of the best answer.
    """

    name: str
    columns: str
    pointed: bool = False

    def fits(self, row: Row) -> bool:
        """Whether the row has the columns."""
        return row.has(*_COLUMNS) and has_prompt(row)

    def complete(self, row: Row) -> bool:
        """Whether there is a list, and the position of the best answer if the shape needs one."""
        name = self._list(row)
        if name is None or not has_prompt(row, filled=True):
            return False
        pointer = row.peek(row.first(*_POINTER) or "")
        named = isinstance(pointer, str) and pointer in map(_item_text, row.peek(name))
        return not self.pointed or (row.first("rejected") is None and (_points(pointer) or named))

    def read(self, row: Row, *, all_pairs: bool = False) -> list[Outcome]:
        """Returns the pair of the best and the worst answer, or all pairs that differ in rank.

        Raises:
            DemonstrationError: the answers have no ranks, or a value is invalid.
        """
        name = self._list(row) or ""
        items = row.take(name)
        prompt, marked = prompt_of(row)
        worth = _worth(row, name, items)
        texts = [_item_text(item) for item in items]
        if _are_html(prompt, texts):  # Stack Exchange
            prompt = text_of_html(prompt) if isinstance(prompt, str) else prompt
            texts = [text_of_html(text) if isinstance(text, str) else text for text in texts]
        read = [answer_from(text, f"answer {i + 1}", marked=marked) for i, text in enumerate(texts)]
        pointer = None if worth is not None else _position(row, items)
        metadata = row.metadata()

        def best_against_others(worth: list[float], every: bool) -> tuple[Demonstration, ...]:
            order = sorted(range(len(read)), key=lambda i: -worth[i])
            pairs = list(combinations(order, 2)) if every else [(order[0], order[-1])]
            return tuple(
                Demonstration(
                    joined(prompt, {"chosen": read[i][0], "rejected": read[j][0]}),
                    read[i][1],
                    read[j][1],
                    metadata,
                )
                for i, j in pairs
                if worth[i] > worth[j] and read[i][1].strip() != read[j][1].strip()
            )

        if worth is not None or pointer is None:
            return list(best_against_others(worth or [], all_pairs)) or [Skipped("a tie")]
        (position, known), count = pointer, len(items)
        by_base = [
            best_against_others([float(i == position - base) for i in range(count)], True)
            if 0 <= position - base < count
            else ()
            for base in (0, 1)
        ]
        if known:
            return list(by_base[0]) or [Skipped("a tie")]
        return [Pointed(position, count, by_base[0], by_base[1])]

    @staticmethod
    def _list(row: Row) -> str | None:
        for name in _COLUMNS:
            value = row.peek(name)
            if (
                isinstance(value, list)
                and len(value) > 1
                and all(isinstance(v, (str, Mapping)) for v in value)
            ):
                return name
        return None


def _worth(row: Row, column: str, items: list[Any]) -> list[float] | None:
    """Returns the worth of each answer (higher is better) from ranks or scores; `None` without them."""
    beside: tuple[tuple[tuple[str, ...], float], ...] = ((_PARALLEL_LOW, -1.0), (_PARALLEL_HIGH, 1.0))
    inside: tuple[tuple[tuple[str, ...], float], ...] = ((_LOW, -1.0), (_HIGH, 1.0))
    for names, sign in inside:
        for name in names:
            values = [_key(item, name) for item in items]
            if all(_is_number(value) for value in values):
                return [sign * float(value) for value in values]
    for name in _OPINIONS:
        thumbs = _thumbs([_key(item, name) for item in items])
        if thumbs is not None:
            return thumbs
    means = [_mean_rating(_key(item, "annotations")) for item in items]
    if None not in means:
        return [mean for mean in means if mean is not None]
    for names, sign in beside:
        for name in names:
            if (column, name) == ("completions", "labels"):
                continue  # the steps of one answer (TRL's stepwise supervision)
            values = row.peek(name)
            if isinstance(values, list) and len(values) == len(items) and all(map(_is_number, values)):
                row.take(name)
                return [sign * float(value) for value in values]
    labels = row.peek("labels")
    thumbs = _thumbs(labels) if isinstance(labels, list) and len(labels) == len(items) else None
    if thumbs is not None and column != "completions":
        row.take("labels")
        return thumbs
    return None


def _thumbs(values: list[Any]) -> list[float] | None:
    """Returns 1 for each thumb up and 0 for each thumb down; `None` if a value is neither."""
    if any(value is None or not isinstance(value, (bool, str)) for value in values):
        return None
    try:
        thumbs = [thumb_of(value, "labels") for value in values]
    except DemonstrationError:
        return None
    return [float(thumb) for thumb in thumbs] if all(isinstance(t, bool) for t in thumbs) else None  # type: ignore[arg-type]


def _position(row: Row, items: list[Any]) -> tuple[int, bool]:
    """Returns the position of the best answer, and whether it certainly counts from 0.

    Raises:
        DemonstrationError: no column has it.
    """
    pointer = row.first(*_POINTER) or ""
    best = row.peek(pointer)
    texts = [_item_text(item) for item in items]
    if isinstance(best, str) and texts.count(best) == 1:
        row.take(pointer)
        return texts.index(best), True
    if _points(best) and int(best) <= len(items):
        row.take(pointer)
        return int(best), False
    raise DemonstrationError(
        f"the list of {len(items)} answers has no ranks and no scores: each needs a number 'rank' or 'score'"
    )


def _key(item: Any, name: str) -> Any:
    if not isinstance(item, Mapping):
        return None
    return next((value for key, value in item.items() if isinstance(key, str) and normal(key) == name), None)


def _mean_rating(annotations: Any) -> float | None:
    """UltraFeedback's `annotations`: an object with a `Rating` for each aspect."""
    if not isinstance(annotations, Mapping) or not annotations:
        return None
    ratings = [_key(aspect, "rating") for aspect in annotations.values()]
    if not all(map(_is_number, ratings)):
        return None
    return sum(map(float, ratings)) / len(ratings)


def _are_html(prompt: Any, texts: list[Any]) -> bool:
    """Whether the question and all answers are fragments of HTML."""
    return all(isinstance(text, str) and _FRAGMENT.match(text) for text in (prompt, *texts))


def _points(value: Any) -> bool:
    if isinstance(value, str):  # a cell of a table
        return len(value) < 5 and value.isascii() and value.isdigit()
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    try:
        return isinstance(value, (int, float, str)) and math.isfinite(float(value))
    except (ValueError, OverflowError):  # a whole number of more than 308 digits
        return False


def _item_text(item: Any) -> Any:
    if isinstance(item, str):
        return item
    for name in _TEXTS:
        value = _key(item, name)
        if value is not None:
            return value
    return item


LISTS: tuple[AnswerList, ...] = (
    AnswerList(
        "a list of answers and the position of the best",
        "prompt; responses (answers, summaries, ...); chosen, best or choice: a number from 0",
        pointed=True,
    ),
    AnswerList(
        "ranked or rated answers",
        "prompt; answers, completions, responses, ... (objects with rank or score; Nectar, UltraFeedback, "
        "Stack Exchange), or texts beside ranks or scores",
    ),
)
