"""`json_rows`: the rows of JSON lines and of JSON."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any

from icdpo_chains.demonstrations.files.byte_source import ByteSource
from icdpo_chains.demonstrations.files.documents import rows_of_document
from icdpo_chains.demonstrations.files.text_lines import MAX_ROW, TextLines, check_utf8
from icdpo_chains.errors import DemonstrationError

__all__ = ["json_rows"]

_CHUNK = 1 << 16
_LONG = 1 << 15
_MAX_DOCUMENT = 1 << 28
"""The largest file that may be one object, which is held in memory as a whole."""
_JSON_SPACE = " \t\r\n"


def json_rows(source: ByteSource, *, may_span_lines: bool = True) -> Iterator[tuple[int, Any]]:
    """Yields the rows of JSON lines, of one JSON array, or of objects written over several lines.

    The content decides, not the file's name. A file that is one object may have its rows in a list, such as
    `{"data": [...]}`, or by columns: see `rows_of_document`. After a syntax error, reading continues with the
    next line of JSON lines; an array ends there.

    Args:
        source: the file.
        may_span_lines: accept a file of one long line as one document.

    Yields:
        The line number (in an array the row's number), and the row or the `DemonstrationError` in its place.
    """
    head = source.peek(_CHUNK).removeprefix(codecs.BOM_UTF8).lstrip(_JSON_SPACE.encode())
    if head.startswith(b"["):
        return _json_values(source, array=True)
    if _spans_lines(head) or (
        may_span_lines and head.startswith(b"{") and b"\n" not in head and len(head) >= _LONG
    ):
        return _document(_json_values(source, array=False))
    return _document(_json_lines(source))


def _document(rows: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """Yields the rows inside the only object of a file; the rows of other files unchanged."""
    first = next(rows, None)
    if first is None:
        return
    second = next(rows, None)
    inner = rows_of_document(first[1]) if second is None else None
    if inner is not None:
        yield from enumerate(inner, 1)
        return
    yield first
    if second is not None:
        yield second
        yield from rows


def _json_lines(source: ByteSource) -> Iterator[tuple[int, Any]]:
    lines = TextLines(source)
    while True:
        row: Any
        try:
            text = next(lines).strip(_JSON_SPACE + "\x1e")  # RFC 7464 begins each text with this mark
            if not text:
                continue
            check_utf8(text)
            row = json.loads(text)
        except StopIteration:
            break
        except DemonstrationError as error:
            row = error
        except (ValueError, RecursionError) as error:
            if not lines.complete and not _python(text):
                reason = (
                    source.broken or f"the line is incomplete, the file seems to be truncated: {_why(error)}"
                )
                yield lines.number, DemonstrationError(reason)
                return
            row = DemonstrationError(f"the line is not valid JSON: {_why(error, text)}")
        yield lines.number, row
    if source.broken:
        yield lines.number + 1, DemonstrationError(source.broken)


def _json_values(source: ByteSource, *, array: bool) -> Iterator[tuple[int, Any]]:
    text = _JSONText(source, MAX_ROW if array else max(MAX_ROW, _MAX_DOCUMENT))
    if array:
        text.next_char()
        text.position += 1
    number = 0
    while True:
        number += 1
        try:
            char = text.next_char()
            if array and char == "]":
                text.position += 1
                if text.next_char():
                    raise DemonstrationError("there is more text after the array")
                break
            if not array and not char:
                break
            if array and number > 1:
                if char != ",":
                    raise DemonstrationError("the array has neither a comma nor an end")
                text.position += 1
            row = text.next_value()
        except (ValueError, RecursionError) as error:
            reason = f"from here on the file is truncated or no JSON, and can't be read: {_why(error)}"
            yield number, DemonstrationError(source.broken or reason)
            return
        yield number, row
    if source.broken:
        yield number, DemonstrationError(source.broken)


class _JSONText:
    """JSON text, read only as far as the next value needs.

    `ijson` is not an alternative: its C backend silently turns a lone surrogate into `?`, and one invalid
    byte ends the whole array. This reader treats rows as in JSON lines, and refuses only the invalid row.
    """

    def __init__(self, source: ByteSource, limit: int) -> None:
        self._source = source
        self._limit = limit
        self._bytes = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._values = json.JSONDecoder()
        self._buffer = ""
        self.position = 0
        self.ended = False

    def next_char(self) -> str:
        """Returns the next character that is not white space, without consuming it; `""` at the end."""
        while True:
            rest = self._buffer[self.position : self.position + _CHUNK]
            stripped = rest.lstrip(_JSON_SPACE)
            self.position += len(rest) - len(stripped)
            if stripped:
                return stripped[0]
            if self.position >= len(self._buffer) and not self._fill():
                return ""

    def next_value(self) -> Any:
        """Returns the next value, or a `DemonstrationError` in its place if it is not UTF-8."""
        self.next_char()
        while True:
            try:
                value, end = self._values.raw_decode(self._buffer, self.position)
            except json.JSONDecodeError:
                if not self._fill():
                    raise
                continue
            # A number at the end of the buffer may continue.
            if end == len(self._buffer) and self._fill():
                continue
            text, self.position = self._buffer[self.position : end], end
            try:
                check_utf8(text)
            except DemonstrationError as error:
                return error
            return value

    def _fill(self) -> bool:
        """Reads about as much again as the buffer contains, so that a long value is parsed few times."""
        waiting = len(self._buffer) - self.position
        if waiting > self._limit:
            raise DemonstrationError(
                f"the row is longer than {self._limit:,} characters, or a quote is missing"
            )
        chunks: list[str] = []
        wanted = max(_CHUNK, waiting)
        while wanted > 0 and not self.ended:
            data = self._source.read1(wanted)
            self.ended = not data
            chunks.append(self._bytes.decode(data, final=self.ended))
            wanted -= len(data)
        self._buffer = self._buffer[self.position :] + "".join(chunks)
        self.position = 0
        return any(chunks)


def _spans_lines(head: bytes) -> bool:
    """Whether the text begins with an object over several lines, and not with JSON lines."""
    first, *rest = [line.strip() for line in head.split(b"\n") if line.strip()][:2] or [b""]
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return bool(rest) and rest[0][:1] in (b'"', b"}")
    return False


def _python(text: str) -> bool:
    return text.startswith(("{'", "['"))


def _why(error: Exception, text: str = "") -> str:
    if _python(text):
        return "it is in single quotes, as Python prints a dictionary: write rows with json.dumps"
    # The error's own line number counts from the start of the buffer, which would mislead.
    return f"{error.msg} at character {error.pos}" if isinstance(error, json.JSONDecodeError) else str(error)
