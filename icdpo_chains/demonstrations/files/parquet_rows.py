"""`parquet_rows`: the rows of a Parquet file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from icdpo_chains.demonstrations.files.byte_source import ByteSource
from icdpo_chains.demonstrations.files.shapes import SHAPE_COLUMNS, check_columns
from icdpo_chains.errors import DemonstrationError, UnknownFormatError

__all__ = ["parquet_rows"]

_BATCH = 256


def parquet_rows(source: ByteSource) -> Iterator[tuple[int, Any]]:
    """Yields the rows of a Parquet file as dictionaries, a small batch at a time.

    A Parquet file is read from its end, so a compressed one is unpacked into a temporary file first.
    Columns of lists and objects that no shape knows are not read at all.

    Args:
        source: the file, of which nothing was read yet.

    Yields:
        The row's number, and the row or the `DemonstrationError` in its place.

    Raises:
        UnknownFormatError: the columns fit no known shape.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    with tempfile.TemporaryFile() as unpacked:
        if source.plain_file is None:
            shutil.copyfileobj(source, unpacked)
        if source.broken:
            yield 1, DemonstrationError(source.broken)
            return
        try:
            file = pq.ParquetFile(source.plain_file or unpacked)
            check_columns(file.schema_arrow.names)
            columns = [
                field.name
                for field in file.schema_arrow
                if field.name in SHAPE_COLUMNS or not pa.types.is_nested(field.type)
            ]
            for batch in file.iter_batches(_BATCH, columns=columns):
                for row in _batch_rows(batch):
                    number += 1
                    yield number, row
        except UnknownFormatError:
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            yield number + 1, DemonstrationError(f"the Parquet file can't be read from here on: {error}")


def _batch_rows(batch: Any) -> Iterator[Any]:
    try:
        yield from batch.to_pylist()
    except ValueError:  # one value is not UTF-8, or a date Python can't hold: find out which row
        for i in range(batch.num_rows):
            try:
                yield batch.slice(i, 1).to_pylist()[0]
            except ValueError as error:
                yield DemonstrationError(f"the row can't be read: {error}")
