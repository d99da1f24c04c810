"""`thumb_of`: a value as a thumb or a rating."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from icdpo_chains.errors import DemonstrationError

__all__ = ["is_opinion", "stars_of", "thumb_of"]

_UP = frozenset(
    (
        *("up", "thumbs_up", "thumbsup", "thumb_up", "positive", "good", "like", "liked"),
        *("yes", "true", "desirable", "accepted", "accept", "helpful", "correct", "upvote"),
        *("upvoted", "pass", "great", "chosen", "satisfied", "1", "y", "pos", "win", "preferred"),
        *("excellent", "very_good", "very_helpful", "very_satisfied", "perfect", "amazing"),
    )
)
_DOWN = frozenset(
    (
        *("down", "thumbs_down", "thumbsdown", "thumb_down", "negative", "bad", "dislike", "disliked"),
        *("no", "false", "undesirable", "rejected", "reject", "unhelpful", "not_helpful", "incorrect"),
        *("downvote", "downvoted", "fail", "poor", "wrong", "unsatisfied", "0", "n", "neg", "lose", "loss"),
        *("terrible", "awful", "very_poor", "very_bad", "dissatisfied", "very_dissatisfied"),
    )
)
_NEUTRAL = frozenset(
    (
        *("neutral", "none", "unsure", "mixed", "tie", "skip", "skipped", "unknown", "no_feedback"),
        *("average", "fair", "na", "n_a"),
    )
)
_SIGNS: Mapping[str, bool | None] = {
    **dict.fromkeys(("👍", "+1", "❤", "✅", "✓", "✔", "+", "😀", "😃", "😄", "🙂", "😊"), True),
    **dict.fromkeys(("👎", "-1", "❌", "✗", "✘", "-", "🙁", "☹", "😞", "😠", "😡"), False),
    **dict.fromkeys(("😐", "--"), None),
}
_STARS = re.compile(r"([★⭐])+[☆ ]*\Z")
_OUT_OF = re.compile(r"(\d(?:\.\d+)?) ?(?:/ ?5|(?:out )?of 5|stars?|(?:/|out of) 5 stars)\Z", re.IGNORECASE)
"""A rating of five stars as text; a rating of another scale stays unknown."""
_INNER = (
    "score",
    "value",
    "rating",
    "label",
    "thumb",
    "thumbs",
    "vote",
    "thumbs_up",
    "liked",
    "emoji",
    "avg",
    "type",
)


def thumb_of(value: Any, column: str) -> bool | float | None:
    """Returns a thumb, a rating, or `None` for neutral feedback.

    Raises:
        DemonstrationError: the value is none of them.
    """
    if isinstance(value, list):
        return _common([item for item in value if item is not None], column)
    if isinstance(value, Mapping):
        inner = next((value[name] for name in _INNER if value.get(name) is not None), None)
        if inner is None and any(isinstance(item, (bool, int, float)) for item in value.values()):
            raise DemonstrationError(
                f"the object in the column {column!r} has no known name of an opinion: it has "
                + ", ".join(map(repr, value))
            )
        return None if inner is None else thumb_of(inner, column)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return _finite(value, column)
    if isinstance(value, str):
        text = value.strip().strip(":").strip()  # ":+1:" is a chat's name of a sign
        sign = text.rstrip("\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff\ufe0f")
        if sign in _SIGNS:
            return _SIGNS[sign]
        if (stars := stars_of(text)) is not None:
            return stars
        word = re.sub(r"[^\w]+", "_", text).strip("_").lower()  # "Thumbs Up 👍"
        try:
            return _finite(float(text), column)  # pandas writes "nan" for an empty cell
        except ValueError:
            pass
        if word in _UP or word in _DOWN:
            return word in _UP
        if not text or word in _NEUTRAL:
            return None
    raise DemonstrationError(
        f"{value!r:.40} in the column {column!r} is neither up nor down: use true and false, 'up' and "
        "'down', or a number"
    )


def is_opinion(value: Any, column: str = "") -> bool:
    """Returns whether a value is a thumb or a rating; neutral feedback and a comment are not."""
    try:
        return thumb_of(value, column) is not None
    except DemonstrationError:
        return False


def _common(values: list[Any], column: str) -> bool | float | None:
    """The opinion of a list in which nobody contradicts."""
    thumbs = [thumb for value in values if (thumb := thumb_of(value, column)) is not None]
    if len(set(thumbs)) > 1:
        raise DemonstrationError(f"the opinions in the column {column!r} contradict each other")
    return next(iter(thumbs), None)


def stars_of(value: Any) -> float | None:
    """Returns the number of stars in a text such as `★★★★☆`, `4/5` or `4 stars`; `None` for other values."""
    if not isinstance(value, str):
        return None
    text = value.strip().replace("\ufe0f", "")
    if _STARS.match(text):
        count = text.count("★") + text.count("⭐")
        return float(count) if count <= 5 else None
    found = _OUT_OF.match(text)
    return float(found[1]) if found and float(found[1]) <= 5 else None


def _finite(value: float, column: str) -> float | None:
    """Returns a number; `None` for one that is not finite."""
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # a whole number of more than 308 digits
        raise DemonstrationError(
            f"{str(value)[:20]}... in the column {column!r} is too large for a number"
        ) from None
