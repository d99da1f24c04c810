"""`read_demonstrations`: a preference file of any known format and shape, row by row."""

from __future__ import annotations

import codecs
import errno
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.files.byte_source import ByteSource
from icdpo_chains.demonstrations.files.csv_rows import csv_rows
from icdpo_chains.demonstrations.files.json_rows import json_rows
from icdpo_chains.demonstrations.files.parquet_rows import parquet_rows
from icdpo_chains.demonstrations.files.shapes import demonstration_from_row
from icdpo_chains.errors import DemonstrationError, UnknownFormatError

__all__ = ["RefusedRow", "read_demonstrations"]

_log = logging.getLogger(__name__)

_READERS: dict[str, Callable[[ByteSource], Iterator[tuple[int, Any]]]] = {
    ".jsonl": lambda source: json_rows(source, may_span_lines=False),
    ".ndjson": lambda source: json_rows(source, may_span_lines=False),
    ".json": lambda source: json_rows(source, may_span_lines=True),
    ".csv": csv_rows,
    ".tsv": lambda source: csv_rows(source, delimiter="\t"),
    ".parquet": parquet_rows,
}
_WIDE_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that is no demonstration, and why.

    Attributes:
        path: the file, as it was given.
        line: where, from 1: the line in JSON lines, the line where the record begins in CSV, the row's number
            in a JSON array and in Parquet.
        reason: why, in one sentence.
    """

    path: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}"


def read_demonstrations(
    path: str | os.PathLike[str], *, on_refused: Callable[[RefusedRow], None] | None = None
) -> Iterator[Demonstration]:
    """Reads a preference file lazily, one row at a time.

    The suffix says the format: `.jsonl`, `.ndjson`, `.json` (an array, one object, or JSON lines after all),
    `.csv`, `.tsv` or `.parquet`, each also with `.gz`; whether it is compressed, its first bytes say. Text is
    UTF-8, with or without a byte order mark. The columns say the shape, row by row: see
    `icdpo_chains.demonstrations.files.shapes`.

    A row that can't be used is refused, and reading goes on after it. Where a file breaks off (truncated
    gzip, an unfinished array, a damaged Parquet file), what stands before is read, and the break is
    refused as a row. A row may have 16 MiB; Parquet, which has to be read from its end, is unpacked to
    a temporary file.

    Args:
        path: the file.
        on_refused: called with each refused row; without it, each is logged as a warning.

    Yields:
        The demonstrations, in the file's order. Nothing is opened before the first is asked for.

    Raises:
        FileNotFoundError: there is no such file.
        UnknownFormatError: a directory, or an unknown suffix; these two are raised by the call itself. While
            reading: UTF-16, or the columns of the first row (CSV: of the header, Parquet: of the schema) fit
            no known shape, so that the others would not either. A later row of other columns is refused.
        OSError: the file can't be opened or read.
    """
    file = Path(path)
    if file.is_dir():
        raise UnknownFormatError(f"{str(path)!r} is a directory: name one of the files in it. {_formats()}")
    if not file.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    suffix = Path(file.name.lower().removesuffix(".gz")).suffix
    if suffix not in _READERS:
        raise UnknownFormatError(
            f"the format of {str(path)!r} is unknown by its suffix {suffix!r}. {_formats()}"
        )
    return _read(file, suffix, on_refused or _log_refused)


def _read(file: Path, suffix: str, on_refused: Callable[[RefusedRow], None]) -> Iterator[Demonstration]:
    shape_known = False
    with ByteSource(file) as source:
        if suffix != ".parquet" and source.peek(4).startswith(_WIDE_BOMS):
            raise UnknownFormatError(f"{str(file)!r} is UTF-16 or UTF-32 text: save it as UTF-8")
        try:
            for line, row in _READERS[suffix](source):
                try:
                    if isinstance(row, DemonstrationError):
                        raise row
                    demonstration = demonstration_from_row(row)
                except UnknownFormatError as error:
                    if not shape_known:
                        raise
                    on_refused(RefusedRow(str(file), line, str(error)))
                except DemonstrationError as error:
                    # A row of the wrong kind, or none at all, says nothing about the columns of the others.
                    shape_known = shape_known or isinstance(row, dict)
                    on_refused(RefusedRow(str(file), line, str(error)))
                else:
                    shape_known = True
                    yield demonstration
        except UnknownFormatError as error:
            raise UnknownFormatError(f"{str(file)!r}: {error}") from None


def _log_refused(refused: RefusedRow) -> None:
    _log.warning("refused: %s", refused)


def _formats() -> str:
    return f"Known formats: {', '.join(_READERS)}, each also with .gz"
