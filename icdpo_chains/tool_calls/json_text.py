"""Reads JSON in a model's text in linear time, with one kind of error."""

from __future__ import annotations

import json
import math
from typing import Any

__all__ = ["read_json", "without_fence"]

_MAX_DEPTH = 100


def read_json(text: str, *, strict: bool = True) -> Any:
    """Returns the value of a JSON text.

    Args:
        text: the JSON text.
        strict: refuse control characters inside strings.

    Raises:
        ValueError: the text is not JSON, is nested more than 100 levels deep, or has an infinite number.
    """
    too_deep = f"the JSON is nested more than {_MAX_DEPTH} levels deep"
    try:
        value = json.loads(text, strict=strict, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise ValueError(too_deep) from None
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(_MAX_DEPTH):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, (dict, list))
        ]
    if level:
        raise ValueError(too_deep)
    return value


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):  # Python reads NaN and Infinity, which no other reader of the JSON takes
        raise ValueError(f"the number {digits:.20} is not finite")
    return value


def without_fence(text: str) -> str:
    """Returns the content of a text that is one Markdown code fence; returns other texts unchanged."""
    if len(text) < 6 or not (text.startswith("```") and text.endswith("```")):
        return text
    opening, line_break, content = text[3:-3].partition("\n")
    return content.strip() if line_break and opening.strip() in ("", "json") else text
