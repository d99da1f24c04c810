"""`parquet_rows`, `arrow_rows`: the rows of Parquet files and of Arrow files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from icdpo_chains.demonstrations.files.byte_source import ByteSource
from icdpo_chains.demonstrations.files.shapes import fitting
from icdpo_chains.errors import DemonstrationError

__all__ = ["arrow_rows", "parquet_rows"]

_BATCH = 256


def parquet_rows(source: ByteSource) -> Iterator[tuple[int, Any]]:
    """Yields the rows of a Parquet file as dictionaries, a small batch at a time.

    A Parquet file is read from its end, so a compressed one is unpacked into a temporary file first.
    Columns that contain bytes, such as images, are not read at all. But where the other columns fit no shape,
    bytes are read as UTF-8, because some writers do not mark their texts as such.

    Args:
        source: the file, before its first read.

    Yields:
        The row's number, and the row or the `DemonstrationError` in its place.
    """
    import pyarrow.parquet as pq

    def batches(file: Any) -> Iterator[Any]:
        table = pq.ParquetFile(file)
        columns = _columns(table.schema_arrow)
        yield from table.iter_batches(_BATCH, columns=columns)

    return _rows(source, batches, "Parquet")


def arrow_rows(source: ByteSource) -> Iterator[tuple[int, Any]]:
    """Yields the rows of an Arrow file or stream (also Feather), like `parquet_rows`."""
    import pyarrow as pa

    def batches(file: Any) -> Iterator[Any]:
        try:
            opened = pa.ipc.open_file(file)
            found: Iterator[Any] = (opened.get_batch(i) for i in range(opened.num_record_batches))
        except pa.ArrowInvalid:
            file.seek(0)
            found = iter(pa.ipc.open_stream(file))
        for batch in found:
            yield batch.select(_columns(batch.schema))

    return _rows(source, batches, "Arrow")


def _rows(source: ByteSource, batches: Any, kind: str) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa

    number = 0
    with tempfile.TemporaryFile() as unpacked:
        if source.plain_file is None:
            shutil.copyfileobj(source, unpacked)
            unpacked.seek(0)
        if source.broken:
            yield 1, DemonstrationError(source.broken)
            return
        try:
            for batch in batches(source.plain_file or unpacked):
                for row in _batch_rows(batch):
                    number += 1
                    yield number, row
        except (pa.ArrowException, OSError, ValueError) as error:
            yield number + 1, DemonstrationError(f"the {kind} file can't be read from here on: {error}")


def _columns(schema: Any) -> list[str]:
    """Returns the columns to read: those without bytes, and bytes that must be the texts."""
    kept = [field.name for field in schema if not _holds_bytes(field.type)]
    every = [field.name for field in schema if field.name in kept or not field.type.num_fields]
    return kept if fitting(kept) or not fitting(every) else every


def _decoded(row: Any) -> Any:
    """Returns a row with its bytes as text; bytes that are not UTF-8 stay."""
    return {name: _text(value) if isinstance(value, bytes) else value for name, value in row.items()}


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value


def _holds_bytes(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_nested(kind):
        return any(_holds_bytes(kind.field(i).type) for i in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _batch_rows(batch: Any) -> Iterator[Any]:
    try:
        yield from map(_decoded, batch.to_pylist())
    except ValueError:  # a value is not UTF-8, or a date that Python can't hold: find the row
        for i in range(batch.num_rows):
            try:
                yield _decoded(batch.slice(i, 1).to_pylist()[0])
            except ValueError as error:
                yield DemonstrationError(f"the row can't be read: {error}")
