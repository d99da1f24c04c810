"""`csv_rows`: the records of a CSV file."""

from __future__ import annotations

import csv
import io
import re
import threading
from collections.abc import Iterator
from typing import Any

from icdpo_chains.demonstrations.files.byte_source import ByteSource
from icdpo_chains.demonstrations.files.shapes import fitting
from icdpo_chains.demonstrations.files.text_lines import MAX_ROW, TextLines, check_utf8
from icdpo_chains.errors import DemonstrationError, UnknownFormatError

__all__ = ["csv_rows"]

_CSV_LIMIT_LOCK = threading.Lock()
_HEAD = 1 << 16
_DELIMITERS = (",", ";", "\t", "|")


def csv_rows(source: ByteSource, delimiter: str = ",") -> Iterator[tuple[int, Any]]:
    """Yields the records of a CSV file as dictionaries by the names in its first record.

    The delimiter (a comma, a semicolon, a tab or a bar) is detected from the header, or given by a line
    `sep=;` before it. An empty cell is `None`. A column without a name is left out.

    Args:
        source: the file.
        delimiter: the delimiter if the header does not show one.

    Yields:
        The first line of the record, and the row or the `DemonstrationError` in its place.

    Raises:
        UnknownFormatError: the header can't be read, or names a column twice.
    """
    lines = TextLines(source)
    head = source.peek(_HEAD)
    if b"\r" in head and b"\n" not in head:
        raise UnknownFormatError(
            "the lines end with a carriage return alone, as in files of old Macintosh programs: save the "
            "table as CSV UTF-8, or convert its line ends"
        )
    first, delimiter = _delimiter(source.peek(_HEAD), delimiter)
    if first:
        next(lines)
    spaced = _is_spaced(source.peek(_HEAD), delimiter)
    records = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=spaced)
    header: list[str] = []
    while True:
        line = lines.number + 1
        try:
            cells = _next_record(records)
            if source.broken and not lines.complete:
                break
            check_utf8("".join(cells))
            if not any(cells):  # a blank line, or a spreadsheet's empty row
                continue
            if not header:
                header = _header(cells)
                continue
            row: Any = _csv_row(header, cells)
        except StopIteration:
            line = lines.number + 1
            break
        except UnknownFormatError:
            raise
        except (csv.Error, DemonstrationError) as error:
            if source.broken:
                break
            if not header:
                raise UnknownFormatError(f"the CSV header in line {line} can't be read: {error}") from None
            row = DemonstrationError(f"the CSV record can't be read: {error}")
        yield line, row
    if source.broken:
        yield line, DemonstrationError(source.broken)


def _next_record(records: Iterator[list[str]]) -> list[str]:
    # The csv module has one limit for the whole process, 131,072 characters per cell; a long prompt may
    # exceed it. The limit is raised for this record and restored, so that other readers do not change.
    with _CSV_LIMIT_LOCK:
        limit = csv.field_size_limit(MAX_ROW)
        try:
            return next(records)
        finally:
            csv.field_size_limit(limit)


def _header(cells: list[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    doubled = sorted({name for name in header if name and header.count(name) > 1})
    if doubled:
        raise UnknownFormatError(
            f"the CSV header names {', '.join(map(repr, doubled))} more than once: rename one"
        )
    return header


def _csv_row(header: list[str], cells: list[str]) -> dict[str, Any]:
    if len(cells) != len(header):
        raise DemonstrationError(
            f"it has {len(cells)} cells, but the header names {len(header)} columns: quote cells that have a "
            "delimiter, a quote or a line break"
        )
    return {name: cell or None for name, cell in zip(header, cells, strict=True) if name}


def _delimiter(head: bytes, default: str) -> tuple[bool, str]:
    """Whether the file begins with a line such as `sep=;`, and the delimiter."""
    text = head.decode("utf-8-sig", "replace")
    line = text.split("\n", 1)[0].rstrip("\r")
    if named := re.fullmatch(r'"?sep=(.)"?', line):
        return True, named[1]
    choices = dict.fromkeys((default, *_DELIMITERS))
    headers = {choice: _first_record(text, choice) for choice in choices}
    # In a tie, the delimiter of the file's suffix wins.
    return False, max(choices, key=lambda choice: (fitting(headers[choice]), len(headers[choice])))


def _is_spaced(head: bytes, delimiter: str) -> bool:
    """Whether a space follows each delimiter of the header, and so belongs to no cell."""
    names = head.decode("utf-8-sig", "replace").lstrip("\r\n").split("\n", 1)[0].split(delimiter)[1:]
    return bool(names) and all(name.startswith(" ") and name.strip() for name in names)


def _first_record(text: str, delimiter: str) -> list[str]:
    for line in text.lstrip("\r\n").split("\n", 1)[:1]:
        try:
            return [cell.strip() for cell in next(csv.reader(io.StringIO(line), delimiter=delimiter), [])]
        except csv.Error:
            return []
    return []
