"""`read_demonstrations`: a preference file of any known format and shape, row by row."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.files.byte_source import as_utf8
from icdpo_chains.demonstrations.files.columnar_rows import arrow_rows, parquet_rows
from icdpo_chains.demonstrations.files.csv_rows import csv_rows
from icdpo_chains.demonstrations.files.json_rows import json_rows
from icdpo_chains.demonstrations.files.report import ReadReport, RefusedRow
from icdpo_chains.demonstrations.files.rows import RowReader
from icdpo_chains.demonstrations.files.sources import Source, sources_of
from icdpo_chains.errors import UnknownFormatError

__all__ = ["Convert", "ReadReport", "RefusedRow", "read_demonstrations"]

Convert: TypeAlias = "Callable[[Mapping[str, Any]], Demonstration | Iterable[Demonstration] | None]"

_log = logging.getLogger(__name__)

_BINARY = {".parquet": parquet_rows, ".arrow": arrow_rows, ".feather": arrow_rows}


def read_demonstrations(
    path: str | os.PathLike[str],
    *,
    on_refused: Callable[[RefusedRow], None] | None = None,
    columns: Mapping[str, str] | None = None,
    convert: Convert | None = None,
    all_pairs: bool = False,
    threshold: float | None = None,
    pair_thumbs: bool = True,
    report: ReadReport | None = None,
) -> Iterator[Demonstration]:
    """Reads a preference file lazily, one row at a time.

    The suffix says the format: `.jsonl`, `.ndjson`, `.json`, `.csv`, `.tsv`, `.parquet`, `.arrow`, or `.zip`
    for an archive of them; a file without a suffix is told by its content. The first bytes say whether it is
    compressed (gzip, xz, bzip2, zstd). Text is UTF-8, UTF-16 or UTF-32; CSV may be Windows-1252. The columns
    say the shape, row by row: see `icdpo_chains.demonstrations.files.shapes`.

    A row that can't be used is refused, and reading goes on after it. Where a file breaks off (a truncated
    stream, an unfinished array, a damaged Parquet file), what stands before is read, and the break is
    refused as a row. A row may have 16 MiB; Parquet, which has to be read from its end, is unpacked to
    a temporary file.

    Args:
        path: the file; or a directory, a pattern such as `"logs/*.csv"`, `-` for standard input, or the name
            of a data set on the Hugging Face hub (needs the package `datasets`).
        on_refused: called with each refused row; without it, each is logged as a warning.
        columns: which column holds what, for files of no known shape: `{"prompt": "question", "chosen":
            "good", "rejected": "bad"}`. Other names are `system`, `completion` with `label` or `rating`, and
            `response_a`, `response_b` with `preference`. A dot leads into objects:
            `"data.question"`. Columns that are not named become metadata.
        convert: makes demonstrations of a row itself, in place of the shapes; `None` skips the row.
        all_pairs: whether a ranked list of answers gives all its pairs, instead of the best against the
            worst.
        threshold: the least rating of a good answer; lower ones are bad. Without it, the range of a file's
            ratings tells.
        pair_thumbs: whether ups and downs of one prompt are returned as pairs, after the file's last row;
            else each is returned alone, as it comes. Ratings wait for the last row anyhow.
        report: filled with the shapes that were read and the rows that were skipped.

    Yields:
        The demonstrations, in the file's order. Nothing is read before the first is asked for.

    Raises:
        FileNotFoundError: there is no such file.
        UnknownFormatError: an unknown format; raised by the call itself. While reading: the columns of the
            first row fit no known shape, so that the others would not either. A later row of other columns is
            refused. Among several files such a file is refused, and the others are read.
        OSError: the file can't be opened or read.
    """
    sources = sources_of(path)
    reader = RowReader(
        columns=columns,
        convert=convert,
        all_pairs=all_pairs,
        threshold=threshold,
        pair_thumbs=pair_thumbs,
        report=ReadReport() if report is None else report,
    )
    return _read_all(sources, reader, on_refused or _log_refused)


def _read_all(
    sources: list[Source], reader: RowReader, on_refused: Callable[[RefusedRow], None]
) -> Iterator[Demonstration]:
    for source in sources:
        try:
            yield from reader.read(source.name, _rows(source, reader.report), on_refused)
        except UnknownFormatError as error:
            if len(sources) == 1:
                raise UnknownFormatError(f"{source.name!r}: {error}") from None
            on_refused(RefusedRow(source.name, 1, str(error)))


def _rows(source: Source, report: ReadReport) -> Iterator[tuple[int, Any]]:
    """The rows of a file with their positions, in any format."""
    if source.open is None:
        yield from enumerate(source.rows() if source.rows else (), 1)
        return
    with source.open() as data:
        if source.suffix in _BINARY:
            yield from _BINARY[source.suffix](data)
            return
        table = source.suffix in (".csv", ".tsv")
        text, encoding = as_utf8(data, table=table)
        if encoding is not None:
            report.notes[f"the text was {encoding}"] += 1
        if not table and not source.suffix:
            head = text.peek(1 << 12).removeprefix(b"\xef\xbb\xbf").lstrip()[:4]
            if head == b"PAR1":
                yield from parquet_rows(data)
                return
            table = bool(head) and head[:1] not in (b"{", b"[")
        if table:
            yield from csv_rows(text, delimiter="\t" if source.suffix == ".tsv" else ",")
        else:
            yield from json_rows(text, may_span_lines=source.suffix not in (".jsonl", ".ndjson"))


def _log_refused(refused: RefusedRow) -> None:
    _log.warning("refused: %s", refused)
