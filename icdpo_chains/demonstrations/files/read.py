"""`read_demonstrations`: reads a preference file of any known format and shape, row by row."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.files.byte_source import as_utf8
from icdpo_chains.demonstrations.files.columnar_rows import arrow_rows, parquet_rows
from icdpo_chains.demonstrations.files.csv_rows import csv_rows
from icdpo_chains.demonstrations.files.json_rows import json_rows
from icdpo_chains.demonstrations.files.report import ReadReport, RefusedRow
from icdpo_chains.demonstrations.files.row_reader import RowReader
from icdpo_chains.demonstrations.files.sources import Source, sources_of
from icdpo_chains.errors import InvalidInputError, UnknownFormatError

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
    verdict: tuple[str, str] | None = None,
    report: ReadReport | None = None,
) -> Iterator[Demonstration]:
    """Reads a preference file lazily, one row at a time.

    The suffix determines the format: `.jsonl`, `.ndjson`, `.json`, `.csv`, `.tsv`, `.parquet`, `.arrow`, or
    `.zip` for an archive of them; the content determines the format of a file without a suffix. The first
    bytes determine the compression (gzip, xz, bzip2, zstd). Text is UTF-8, UTF-16 or UTF-32; CSV may be
    Windows-1252. The columns of each row determine its shape: see `icdpo_chains.demonstrations.files.shapes`.

    An invalid row is refused, and reading continues after it. If a file is incomplete (a truncated stream, an
    unfinished array, a damaged Parquet file), the rows before the break are read, and the break is refused as
    a row. A row may have up to 16 MiB. Compressed Parquet is unpacked to a temporary file, because it must be
    read from its end.

    Args:
        path: the file; or a directory, a pattern such as `"logs/*.csv"`, `-` for standard input, or the name
            of a data set on the Hugging Face hub (needs the extra `datasets`).
        on_refused: called with each refused row; without it, each is logged as a warning.
        columns: the columns of files without a known shape: `{"prompt": "question", "chosen": "good",
            "rejected": "bad"}`. Other names are `system`, `completion` with `label` or `rating`, and
            `response_a`, `response_b` with `preference`. A dot selects a field of an object:
            `"data.question"`. Other columns become metadata.
        convert: converts a row to demonstrations, instead of the shapes; `None` skips the row.
        all_pairs: return all pairs of a ranked list of answers, instead of the best against the worst.
        threshold: the least rating of a good answer; lower ratings are bad. By default it follows from the
            range of the file's ratings.
        pair_thumbs: combine thumbs up and thumbs down on the same prompt into pairs, and return these after
            the file's last row; otherwise each thumb is returned alone, in the file's order. Ratings,
            verdicts that are numbers, and messages of trees always wait for the last row.
        verdict: the verdicts for the first and for the second of two answers, such as `("0", "1")`; all
            others are ties. By default a verdict must name the answer, or be a number whose meaning is clear
            from the whole file.
        report: receives the counts of shapes and skipped rows.

    Yields:
        The demonstrations in the file's order. Reading starts with the first one.

    Raises:
        FileNotFoundError: there is no such file.
        UnknownFormatError: the format is unknown (raised by the call itself), or the columns of the first row
            fit no known shape, or the meaning of its numbers is not clear from the whole file (raised
            during reading). A later row with other columns is refused. Among several files, only the unknown
            file is refused.
        OSError: the file can't be opened or read.
        InvalidInputError: the threshold is not finite.
    """
    if threshold is not None and not math.isfinite(threshold):
        raise InvalidInputError(f"threshold is {threshold}, and must be a finite number")
    sources = sources_of(path)
    reader = RowReader(
        columns=columns,
        convert=convert,
        all_pairs=all_pairs,
        threshold=threshold,
        pair_thumbs=pair_thumbs,
        verdict=verdict,
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
    """Yields the rows of a file in any format, with their positions."""
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
