"""Checks of arguments: each error names the value, the limit and the remedy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

__all__ = ["check_count", "check_method", "check_number", "faults_of"]


def check_count(value: object, name: str, most: int, least: int = 1) -> int:
    """Returns `value` if it is a whole number from `least` to `most`.

    Raises:
        TypeError: the value is not an integer (a bool is not).
        ValueError: the value is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} is {value}, and must be from {least} to {most}")
    return value


def check_number(value: Any, name: str, least: float, most: float, hint: str) -> None:
    """Checks that `value` is a finite number within limits.

    Args:
        value: the value.
        name: the name of the argument.
        least: the least value.
        most: the greatest value.
        hint: the meaning of some values, for the error message.

    Raises:
        TypeError: the value is not a number (a bool is not).
        ValueError: the value is out of range or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not least <= value <= most or not math.isfinite(value):  # a long int has no float
        raise ValueError(f"{name} is {value}, and must be from {least} to {most} ({hint})")


def check_method(value: object, name: str, method: str, hint: str) -> None:
    """Checks that `value` has a method, which a string or a list in its place lacks.

    Args:
        value: the value.
        name: the name of the argument.
        method: the name of the method.
        hint: what to give, for the error message.

    Raises:
        TypeError: the value has no such method.
    """
    if not callable(getattr(value, method, None)):
        raise TypeError(f"{name} is a {type(value).__name__}, which has no method `{method}`: give {hint}")


def faults_of(error: ValidationError, model: type[BaseModel]) -> str:
    """Names each field and its fault, in one line.

    Args:
        error: the error of a model's validation.
        model: the model; its fields may be models too.
    """
    parts = []
    for item in error.errors(include_url=False):
        field, reason = ".".join(map(str, item["loc"])), item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            within = model.model_fields.get(field.split(".")[0])
            known = getattr(within and within.annotation, "model_fields", model.model_fields)
            reason = f"no such setting; known are {', '.join(known)}"
        elif field:
            reason += f" (it is {item['input']!r:.80})"
        parts.append(f"{field}: {reason}" if field else reason)
    return "; ".join(parts)
