"""A GGUF file's weights and tokenizer in the formats of transformers, converted once and kept in the cache.

transformers unpacks a file at each start: 16 s for half a billion parameters on two cores, 8 s for the
tokenizer alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from icdpo_chains.packaged_models.catalog import MARKER, cache_dir
from icdpo_chains.packaged_models.download import load_gguf, load_gguf_tokenizer, megabytes

if TYPE_CHECKING:
    import torch

__all__ = ["converted_gguf", "converted_tokenizer"]

_VERSION = 1  # raise the version when the conversion changes: the cache then converts each file again
_HEADER = 64 << 20  # bytes; the tokenizer stands at a file's beginning, and 262,144 tokens take 10 MB
_log = logging.getLogger(__name__)


def converted_gguf(file: Path, dtype: torch.dtype) -> Path | None:
    """Returns the directory of a GGUF file's model and tokenizer; converts the file on its first use.

    The SHA-256 of the file's content and the dtype name the directory. The conversion runs under a lock in a
    temporary directory, which is renamed into place: an interrupted conversion never looks complete.

    Args:
        file: The GGUF file.
        dtype: The dtype of the stored weights.

    Returns:
        A directory for `from_pretrained`, or `None` if the cache has no room or can't be written: the caller
        then loads the GGUF file itself.

    Raises:
        OSError: The file can't be read.
        ValueError, KeyError, ImportError: transformers can't load the file.
    """
    with file.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256") if hasattr(hashlib, "file_digest") else _digest(source)
    dtype_name = str(dtype).removeprefix("torch.")
    identity = {"gguf": digest.hexdigest(), "dtype": dtype_name, "converter": _VERSION}
    directory = cache_dir() / f"gguf-{identity['gguf'][:32]}-{dtype_name}"

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

    The directory is named for the file's beginning, which holds the tokenizer, and its size: hashing all of a
    large file takes longer than loading the file.

    Args:
        file: The GGUF file.

    Returns:
        A directory for `from_pretrained`, or `None` if the cache can't be written.

    Raises:
        OSError: The file can't be read.
        ValueError, KeyError, ImportError: transformers can't load the tokenizer.
    """
    with file.open("rb") as source:
        digest = hashlib.sha256(source.read(_HEADER)).hexdigest()
    identity = {"gguf_beginning": digest, "bytes": file.stat().st_size, "converter": _VERSION}
    directory = cache_dir() / f"gguf-tokenizer-{digest[:32]}-{identity['bytes']}"
    made = _cached(file, directory, identity, lambda work: load_gguf_tokenizer(file).save_pretrained(work))
    return directory if made else None


class _NoRoomError(Exception):
    """The cache has no room for the files."""


def _cached(file: Path, directory: Path, identity: dict[str, Any], save: Callable[[Path], object]) -> bool:
    """Whether a directory of the cache is ready; `save` writes its files if it is not."""
    if _is_ready(directory, identity):
        return True
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(directory.parent / f".{directory.name}.lock"):
            if not _is_ready(directory, identity):  # another process may have built it meanwhile
                _make(directory, identity, save)
    except (PermissionError, _NoRoomError) as error:
        _log.warning(
            "%s is converted at each start because the cache %s can't hold it (%s): set ICDPO_CACHE to a "
            "writable directory with more room",
            *(file, directory.parent, error),
        )
        return False
    return True


def _make(directory: Path, identity: dict[str, Any], save: Callable[[Path], object]) -> None:
    """Writes the directory, its marker last. The lock is held."""
    cache, prefix = directory.parent, f".{directory.name}.partial-"
    for leftover in cache.glob(f"{prefix}*"):  # the lock shows that its process has ended
        shutil.rmtree(leftover, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=prefix, dir=cache))
    try:
        save(work)
        files = {
            path.relative_to(work).as_posix(): path.stat().st_size
            for path in work.rglob("*")
            if path.is_file()
        }
        (work / MARKER).write_text(json.dumps({**identity, "files": files}, indent=1) + "\n", "utf-8")
        if directory.exists():  # damaged, or from an earlier converter
            shutil.rmtree(directory)
        os.replace(work, directory)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _is_ready(directory: Path, identity: dict[str, Any]) -> bool:
    try:
        marker = json.loads((directory / MARKER).read_text("utf-8"))
        files = marker.pop("files")
        return bool(marker == identity) and all(
            (directory / name).stat().st_size == size for name, size in files.items()
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False


def _digest(source: Any) -> Any:  # Python 3.10 has no `hashlib.file_digest`
    digest = hashlib.sha256()
    while block := source.read(1 << 20):
        digest.update(block)
    return digest
