"""`atomic_file`: a file that appears whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["atomic_file"]


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Yields a file to write; it replaces the file at `path` when the block ends, and not after an error.

    The data are on disk before the replacement, and a replaced file keeps its permissions. The unfinished
    file is beside `path`, has a random name and is created exclusively: neither a file of the user's nor a
    planted link is ever written.

    Args:
        path: the file to write or to replace.

    Raises:
        OSError: the file can't be written.
    """
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with unfinished.open("xb") as file:
            if path.is_file():
                shutil.copymode(path, unfinished)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
