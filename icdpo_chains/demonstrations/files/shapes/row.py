"""`Row`: a row's values by case-insensitive column names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import date, time
from decimal import Decimal
from functools import lru_cache
from typing import Any

__all__ = ["Row", "normal"]


@lru_cache(maxsize=4096)
def normal(name: str) -> str:
    """Returns a column's name in lower case, with `_` between its words."""
    return re.sub(r"[\W_]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)).strip("_").lower()


class Row:
    """The values of a row; remembers the used columns, because the others become metadata."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self._columns: dict[str, str] = {}
        for name in values:
            if isinstance(name, str):
                self._columns.setdefault(normal(name), name)
        self._used = {"metadata"}

    @property
    def names(self) -> Iterable[str]:
        """The names of the columns, normalized."""
        return self._columns

    def has(self, *names: str) -> bool:
        """Whether there is a column of one of these names."""
        return any(name in self._columns for name in names)

    def first(self, *names: str) -> str | None:
        """Returns the first of these names whose column is not null."""
        return next((name for name in names if self.peek(name) is not None), None)

    def peek(self, name: str) -> Any:
        """Returns a value without marking it as used; `None` if there is no such column."""
        column = self._columns.get(name)
        return None if column is None else self.values[column]

    def take(self, name: str) -> Any:
        """Returns a value and marks it as used."""
        if name in self._columns:
            self._used.add(self._columns[name])
        return self.peek(name)

    def take_text(self, *names: str) -> str | None:
        """Returns the first of these columns with a text that is not blank."""
        for name in names:
            value = self.peek(name)
            if isinstance(value, str) and value.strip():
                return str(self.take(name))
        return None

    def metadata(self, *texts: str | None) -> dict[str, Any]:
        """Returns the unused columns with JSON values, and the object in `metadata`.

        Args:
            texts: texts that are already used: columns that repeat one are left out.
        """
        kept: dict[str, Any] = {}
        for name, value in self.values.items():
            scalar = _as_json(value)
            if name in self._used or not _is_scalar(scalar) or (isinstance(scalar, str) and scalar in texts):
                continue
            kept[name] = scalar
        given = self.values.get("metadata")
        if isinstance(given, Mapping):
            kept.update(_as_json(given))
        elif _is_scalar(_as_json(given)):
            kept["metadata"] = _as_json(given)
        return kept


def _is_scalar(value: object) -> bool:
    return isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value))


def _as_json(value: Any) -> Any:
    """Returns a value of Parquet as a JSON value; values without a JSON equivalent are unchanged."""
    if isinstance(value, Mapping):
        return {name: _as_json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, (date, time)) else value
