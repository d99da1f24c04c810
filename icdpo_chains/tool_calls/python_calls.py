"""Calls in Python's syntax, as Llama 3.2, Llama 4 and Olmo write them: `[weather(place="Oslo"), time()]`."""

from __future__ import annotations

import re
import sys
from typing import Any

__all__ = ["python_calls"]

_MAX_DEPTH = 100
_NAME = re.compile(r"[A-Za-z_][\w.]*")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_PLAIN = {quote: re.compile(rf"[^{quote}\\]*") for quote in "'\""}
_SPACE = re.compile(r"\s*")
_WORDS = {"True": True, "true": True, "False": False, "false": False, "None": None, "null": None}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\n": ""}
_CODES = {"x": 2, "u": 4, "U": 8}


def python_calls(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Returns the names and the keyword arguments of calls, from one call or from a list of calls.

    The time is linear in the text.

    Raises:
        ValueError: the text is something else, or is nested more than 100 levels deep.
    """
    return _Reader(text).calls()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        found = []
        if self._takes("["):
            while not self._takes("]"):
                found.append(self._call())
                if not self._takes(","):
                    self._expect("]")
                    break
        else:
            found.append(self._call())
        self._space()
        if self._at < len(self._text):
            raise self._error()
        return found

    def _call(self) -> tuple[str, dict[str, Any]]:
        name = self._name()
        self._expect("(")
        arguments: dict[str, Any] = {}
        while not self._takes(")"):
            key = self._name()
            self._expect("=")
            arguments[key] = self._value(0)
            if not self._takes(","):
                self._expect(")")
                break
        return name, arguments

    def _value(self, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise ValueError(f"the call is nested more than {_MAX_DEPTH} levels deep")
        self._space()
        first = self._text[self._at : self._at + 1]
        if first in ("'", '"'):
            return self._string(first)
        if first in ("[", "("):
            self._at += 1
            return self._items("]" if first == "[" else ")", depth)
        if first == "{":
            self._at += 1
            return self._mapping(depth)
        if number := _NUMBER.match(self._text, self._at):
            self._at = number.end()
            return _number(number[0])
        word = self._name()
        if word not in _WORDS:
            raise self._error()
        return _WORDS[word]

    def _items(self, closing: str, depth: int) -> list[Any]:
        items: list[Any] = []
        while not self._takes(closing):
            items.append(self._value(depth + 1))
            if not self._takes(","):
                self._expect(closing)
                break
        return items

    def _mapping(self, depth: int) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not self._takes("}"):
            key = self._value(depth + 1)
            if not isinstance(key, str):
                raise self._error()
            self._expect(":")
            items[key] = self._value(depth + 1)
            if not self._takes(","):
                self._expect("}")
                break
        return items

    def _string(self, quote: str) -> str:
        pieces: list[str] = []
        self._at += 1
        while True:
            plain = _PLAIN[quote].match(self._text, self._at)
            assert plain is not None  # noqa: S101 - it matches the empty text as well
            pieces.append(plain[0])
            self._at = plain.end() + 1
            ended = self._text[plain.end() : self._at]
            if ended == quote:
                return "".join(pieces)
            if not ended:
                raise self._error()
            pieces.append(self._escape())

    def _escape(self) -> str:
        kind = self._text[self._at : self._at + 1]
        self._at += 1
        if kind in _CODES:
            digits = self._text[self._at : self._at + _CODES[kind]]
            self._at += len(digits)
            code = int(digits, 16)
            if code > sys.maxunicode:
                raise self._error()
            return chr(code)
        return _ESCAPES.get(kind, kind)

    def _name(self) -> str:
        self._space()
        found = _NAME.match(self._text, self._at)
        if found is None:
            raise self._error()
        self._at = found.end()
        return found[0]

    def _space(self) -> None:
        space = _SPACE.match(self._text, self._at)
        assert space is not None  # noqa: S101 - it matches the empty text as well
        self._at = space.end()

    def _takes(self, sign: str) -> bool:
        self._space()
        if not self._text.startswith(sign, self._at):
            return False
        self._at += len(sign)
        return True

    def _expect(self, sign: str) -> None:
        if not self._takes(sign):
            raise self._error()

    def _error(self) -> ValueError:
        return ValueError(f"this is not a call in Python's syntax, at character {self._at}")


def _number(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:  # a fraction, or more digits than Python reads
        value = float(digits)
        if value in (float("inf"), float("-inf")):
            raise ValueError(f"the number {digits:.20} is too large") from None
        return value
