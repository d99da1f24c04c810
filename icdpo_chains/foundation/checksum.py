"""`sha256_of`: the checksum of a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["sha256_of"]

_BLOCK = 1 << 20


def sha256_of(path: str | Path) -> str:
    """Returns the SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        OSError: the file can't be read.
    """
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
