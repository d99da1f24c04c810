"""Shapes with one answer and an opinion of it: `THUMBS`; `Scale` turns ratings into thumbs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from icdpo_chains.demonstrations.files.shapes.opinions import is_opinion, stars_of, thumb_of
from icdpo_chains.demonstrations.files.shapes.outcome import Outcome, Skipped, Vote
from icdpo_chains.demonstrations.files.shapes.prompts import PROMPT, TURNS, context_of, prompt_of, with_system
from icdpo_chains.demonstrations.files.shapes.row import Row
from icdpo_chains.demonstrations.files.shapes.values import answer_from, joined
from icdpo_chains.errors import DemonstrationError

__all__ = ["THUMBS", "Scale", "Thumbs"]

_ANSWER = (
    *("completion", "response", "answer", "output", "reply", "generation", "assistant", "model_output"),
    *("bot_response", "model_response", "ai_response", "prediction", "generated_text", "outputs", "result"),
    *("bot_message", "ai_message", "assistant_message", "assistant_response", "model_answer", "ai", "bot"),
)
_LABEL = (
    *("label", "thumbs", "thumb", "feedback", "user_feedback", "vote", "reaction", "liked", "kto_tag"),
    *("is_liked", "human_label", "user_label", "thumb_rating", "user_response", "flag", "like_dislike"),
    *("satisfaction", "was_this_helpful", "thumbs_up_down", "is_chosen", "is_preferred", "is_good"),
    *("good", "helpful", "is_helpful", "is_positive", "sentiment", "upvoted", "accepted", "is_correct"),
    *("desirable", "is_desirable", "thumbs_up", "thumb_up", "verdict", "annotation"),
)
_RATING = (
    *("rating", "stars", "score", "user_score", "user_rating", "feedback_score", "feedback_rating"),
    *("overall_rating", "overall_score", "helpfulness", "quality", "grade", "reward"),
)
_COUNTS = (("thumbs_up", "thumbs_down"), ("upvotes", "downvotes"), ("likes", "dislikes"), ("up", "down"))


@dataclass(frozen=True)
class Thumbs:
    """A prompt, one answer, and a label or a rating of it.

    Attributes:
        name: the shape's name.
        columns: a description of the columns, for the documentation.
        label: the possible names of the column with the opinion.
        dialogue: whether the answer is the last message of the conversation.
    """

    name: str
    columns: str
    label: tuple[str, ...]
    dialogue: bool = False

    def fits(self, row: Row) -> bool:
        """Whether the row has the columns."""
        if not self._label(row, row.has):
            return False
        return row.has(*TURNS) if self.dialogue else row.has(*_ANSWER) and row.has(*PROMPT, *TURNS, "context")

    def complete(self, row: Row) -> bool:
        """Whether the columns are not null; a missing label means a row without feedback, see `read`."""
        if self.label is _LABEL and row.first(*_RATING) is not None and not self._states(row):
            return False  # a comment or a topic beside the rating
        if self.dialogue:
            return row.first(*TURNS) is not None and row.first(*_ANSWER) is None
        return row.first(*_ANSWER) is not None and row.first(*PROMPT, *TURNS, "context") is not None

    def read(self, row: Row) -> list[Outcome]:
        """Returns the vote, or the reason for its absence.

        Raises:
            DemonstrationError: the label or another value is invalid.
        """
        value, column = self._value(row)
        if value is None:
            return [Skipped("no feedback, or neutral feedback")]
        if self.dialogue:
            before, answer = answer_from(row.take(row.first(*TURNS) or ""), "messages")
            whole = with_system(joined(None, {"answer": before}), row, context_of(row))
        else:
            prompt, marked = prompt_of(row)
            name = row.first(*_ANSWER) or ""
            before, answer = answer_from(row.take(name), name, marked=marked)
            if name == "result" and answer.isascii() and answer.isalpha():
                raise DemonstrationError(
                    f"{answer!r:.40} in the column 'result' looks like a status, not like an answer: name "
                    "the column of the answer by --columns completion=..."
                )
            whole = joined(prompt, {"answer": before})
        return [Vote(whole, answer, value, column, row.metadata(answer))]

    def _value(self, row: Row) -> tuple[bool | float | None, str]:
        for up, down in _COUNTS:
            if up in self.label and row.has(up) and row.has(down):
                ups, downs = (_amount(row.take(name), name) for name in (up, down))
                return (None if ups == downs else ups > downs), up
        column = self._column(row)
        if column is None:
            return None, ""
        value = thumb_of(row.take(column), column)
        self._check(row, column, value)
        return value, column if stars_of(row.peek(column)) is None else "stars"

    def _check(self, row: Row, column: str, value: bool | float | None) -> None:
        """Refuses a row whose labels contradict each other, and a flag that says only that there is one."""
        if column == "flag" and row.peek(column) in (
            True,
            1,
            "True",
            "true",
            "1",
            "yes",
            0,
            False,
            "False",
            "0",
        ):
            raise DemonstrationError(
                f"the flag {row.peek(column)!r} does not say whether the answer is good: rename the column"
            )
        if self.label is not _LABEL or value not in (True, False):
            return
        for other in self.label:
            if other in (column, "sentiment") or row.peek(other) is None:  # sentiment may be the question's
                continue
            stated = thumb_of(row.peek(other), other) if is_opinion(row.peek(other), other) else None
            if stated in (True, False) and bool(stated) != bool(value):
                raise DemonstrationError(
                    f"the columns {column!r} and {other!r} contradict each other: name the one that "
                    "counts by --columns prompt=...,completion=...,label=..."
                )

    def _states(self, row: Row) -> bool:
        """Whether a label is a thumb."""
        return any(is_opinion(row.peek(name), name) for name in self.label)

    def _column(self, row: Row) -> str | None:
        """The first label that is a thumb; a topic may stand in another one."""
        stated = next((name for name in self.label if is_opinion(row.peek(name), name)), None)
        return stated or row.first(*self.label)

    def _label(self, row: Row, has: Any) -> bool:
        return bool(has(*self.label))


def _amount(value: Any, column: str) -> float:
    thumb = thumb_of(value, column)
    return float(thumb or 0)


@dataclass(frozen=True)
class Scale:
    """The ratings of good and bad answers; ratings between the limits are neither.

    Attributes:
        up: the least rating of a good answer.
        down: the greatest rating of a bad answer.
    """

    up: float
    down: float

    @classmethod
    def of(cls, column: str, ratings: Iterable[float], threshold: float | None = None) -> Scale:
        """Returns the scale of a file's ratings, derived from their range.

        -1 to 1, and 0 to 1: above and below the middle. To 5: from 4 up (Helpsteer's 0 to 4: from 3) and to 2
        (to 1) down. To 10, and to 100: from 7 (70) and to 4 (40). A file whose greatest rating is below those
        has another scale, or no good rating: 3 is the best of three and the middle of five.

        Args:
            column: the column of the ratings.
            ratings: all of them.
            threshold: the least rating of a good answer, if the caller gives one.

        Raises:
            DemonstrationError: the range fits no known scale.
        """
        values = set(ratings)
        if threshold is not None:
            return cls(threshold, math.nextafter(threshold, -math.inf))
        low, high = min(values), max(values)
        whole = all(value.is_integer() for value in values)
        # Scores may be unbounded, as in a forum: only a file with good and bad scores shows the scale.
        spread = whole and high <= 10 and low <= high / 2 < high
        rated = column in _RATING and (spread or column not in ("score", "reward", "overall_score"))
        if values <= {-1.0, 0.0, 1.0} and low < 0:
            return cls(1.0, -1.0)
        if low >= 0 and high <= 1 and not (column in ("rating", "stars") and values == {1.0}):
            return cls(math.nextafter(0.5, 1), math.nextafter(0.5, 0))
        if column == "helpfulness" and whole and low >= 0 and high <= 4:
            return cls(3.0, 1.0)
        if rated and low >= 1 and 4 <= high <= 5:
            return cls(4.0, 2.0)
        if rated and 0 <= low < 1 and 3 <= high <= 5:
            return cls(4.0, 2.0) if high > 4 else cls(3.0, 1.0)
        if rated and whole and low >= 0 and 7 < high <= 10:  # 7 is also the end of a scale
            return cls(7.0, 4.0)
        if values == {0.0, 100.0} or (rated and whole and low >= 0 and 70 <= high <= 100):
            return cls(70.0, 40.0)
        raise DemonstrationError(
            f"the numbers in the column {column!r} go from {low:g} to {high:g}, and it is unknown which are "
            "good: give the least good number (--threshold, or threshold= in Python)"
        )

    def thumb(self, rating: float) -> bool | None:
        """Returns whether a rating is good; `None` between good and bad."""
        return True if rating >= self.up else False if rating <= self.down else None


THUMBS = (
    Thumbs(
        "thumbs",
        "prompt; completion, response, answer, ...; label, thumbs, feedback, vote, ... (up or down)",
        _LABEL,
    ),
    Thumbs("thumbs on a conversation", "messages that end with the answer; label", _LABEL, dialogue=True),
    Thumbs("ratings", "prompt; response, answer, ...; rating, score, stars, helpfulness, ...", _RATING),
    Thumbs(
        "ratings of a conversation",
        "messages that end with the answer; rating, score, ...",
        _RATING,
        dialogue=True,
    ),
    Thumbs(
        "counted thumbs",
        "prompt; response; thumbs_up; thumbs_down (or up- and downvotes)",
        ("upvotes", "likes", "up"),
    ),
)
