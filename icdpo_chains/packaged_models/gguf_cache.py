"""A GGUF file's weights and tokenizer in the formats of transformers, converted once and kept in the cache.

transformers unpacks a file at each start: 16 s for half a billion parameters on two cores, 8 s for the
tokenizer alone.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from icdpo_chains.foundation.checksum import sha256_of
from icdpo_chains.packaged_models.catalog import cache_dir
from icdpo_chains.packaged_models.download import load_gguf, load_gguf_tokenizer, megabytes
from icdpo_chains.packaged_models.manifest import is_intact, write_manifest

if TYPE_CHECKING:
    import torch

__all__ = ["cached_tokenizer", "converted_gguf", "converted_tokenizer"]

_VERSION = 1  # raise the version when the conversion changes: the cache then converts each file again
_HEADER = 64 << 20  # bytes; the tokenizer stands at a file's beginning, and 262,144 tokens take 10 MB
_NO_CACHE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST)
}
"""The faults of a cache that can't be written."""
_log = logging.getLogger(__name__)


def converted_gguf(file: Path, dtype: torch.dtype) -> Path | None:
    """Returns the directory of a GGUF file's model and tokenizer; converts the file on its first use.

    The SHA-256 of the file's content and the dtype name the directory. The conversion runs under a lock in a
    temporary directory, which is renamed into place: an interrupted conversion never looks complete.

    Args:
        file: the GGUF file.
        dtype: the dtype of the stored weights.

    Returns:
        A directory for `from_pretrained`, or `None` if the cache has no room or can't be written: the caller
        then loads the GGUF file itself.

    Raises:
        OSError: the file can't be read.
        ValueError, KeyError, ImportError: transformers can't load the file.
    """
    dtype_name = str(dtype).removeprefix("torch.")
    digest = sha256_of(file)
    identity = {"gguf": digest, "dtype": dtype_name, "converter": _VERSION}
    directory = cache_dir() / f"gguf-{digest[:32]}-{dtype_name}"

    def save(work: Path) -> None:
        model, tokenizer = load_gguf(file, dtype)
        needed = sum(parameter.nbytes for parameter in model.parameters())
        free = shutil.disk_usage(work).free
        if free < needed * 1.2:
            raise _NoRoomError(f"its weights take {megabytes(needed)}, and {megabytes(free)} are free")
        model.save_pretrained(work)
        tokenizer.save_pretrained(work)

    return directory if _cached(file, directory, identity, save) else None


def converted_tokenizer(file: Path) -> Path | None:
    """Returns the directory of a GGUF file's tokenizer; converts the tokenizer on its first use.

    The directory is named for the file's beginning, which has the tokenizer, and its size: hashing all of a
    large file takes longer than loading the file.

    Args:
        file: the GGUF file.

    Returns:
        A directory for `from_pretrained`, or `None` if the cache can't be written.

    Raises:
        OSError: the file can't be read.
        ValueError, KeyError, ImportError: transformers can't load the tokenizer.
    """
    directory, identity = _tokenizer_place(file)
    made = _cached(file, directory, identity, lambda work: load_gguf_tokenizer(file).save_pretrained(work))
    return directory if made else None


def cached_tokenizer(file: Path) -> Path | None:
    """Returns the directory of a tokenizer that is converted already, without an import of transformers.

    Args:
        file: the GGUF file.

    Raises:
        OSError: the file can't be read.
    """
    directory, identity = _tokenizer_place(file)
    return directory if is_intact(directory, identity) else None


def _tokenizer_place(file: Path) -> tuple[Path, dict[str, Any]]:
    """Returns the directory of a GGUF file's tokenizer, and its identity."""
    with file.open("rb") as source:
        digest = hashlib.sha256(source.read(_HEADER)).hexdigest()
    identity = {"gguf_beginning": digest, "bytes": file.stat().st_size, "converter": _VERSION}
    return cache_dir() / f"gguf-tokenizer-{digest[:32]}-{identity['bytes']}", identity


class _NoRoomError(Exception):
    """The cache has no room for the files."""


def _cached(file: Path, directory: Path, identity: dict[str, Any], save: Callable[[Path], object]) -> bool:
    """Whether a directory of the cache is ready; `save` writes its files if it is not."""
    if is_intact(directory, identity):
        return True
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(directory.parent / f".{directory.name}.lock"):
            if not is_intact(directory, identity):  # another process may have built it meanwhile
                _make(directory, identity, save)
    except (OSError, _NoRoomError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_CACHE:
            raise
        _log.warning(
            "%s is converted at each start because the cache %s can't hold it (%s): set ICDPO_CACHE to a "
            "writable directory with more room",
            *(file, directory.parent, error),
        )
        return False
    return True


def _make(directory: Path, identity: dict[str, Any], save: Callable[[Path], object]) -> None:
    """Writes the directory, its manifest last. The lock is held."""
    cache, prefix = directory.parent, f".{directory.name}.partial-"
    for leftover in cache.glob(f"{prefix}*"):  # the lock shows that its process has ended
        shutil.rmtree(leftover, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=prefix, dir=cache))
    try:
        save(work)
        write_manifest(work, identity)
        if directory.exists():  # damaged, or from an earlier converter
            shutil.rmtree(directory)
        os.replace(work, directory)
    finally:
        shutil.rmtree(work, ignore_errors=True)
