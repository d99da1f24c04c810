"""`input_snapshot`: a copy of a batch job's input, which does not change while the job runs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from icdpo_chains.errors import InvalidInputError

__all__ = ["input_snapshot"]


@contextmanager
def input_snapshot(path: str | Path) -> Iterator[Path]:
    """Yields a copy of a file, with the same name, in a private temporary directory.

    A job reads its input several times: to identify it, to count its rows and to answer them. Another process
    may append to the input or rewrite it meanwhile; the copy stays the same.

    Args:
        path: the file.

    Raises:
        InvalidInputError: the path is a pipe, a device or a directory.
        OSError: the file can't be read, or the copy can't be written.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise InvalidInputError(
            f"{path} is not a regular file, and a batch job must read its input again after a stop: save the "
            "rows to a file"
        )
    with tempfile.TemporaryDirectory(prefix="icdpo-batch-") as directory:
        yield Path(shutil.copyfile(path, Path(directory, path.name)))
