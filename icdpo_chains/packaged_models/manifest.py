"""The manifest of a cached directory: its source, and the size and the SHA-256 of each file.

Each use of the directory compares the sizes (a power cut may leave empty files); the first use in a process
compares the hashes too, before the files are loaded. A directory with a damaged or exchanged file is rebuilt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from icdpo_chains.foundation.checksum import sha256_of

__all__ = ["HASHES", "MANIFEST", "is_intact", "is_ready", "write_manifest"]

MANIFEST = "icdpo.json"
HASHES = "SHA256SUMS"
"""The hashes, in the format of the program sha256sum."""

_intact: set[tuple[Path, int]] = set()


def write_manifest(directory: Path, identity: Mapping[str, Any]) -> None:
    """Writes the manifest and the hashes of a directory.

    Args:
        directory: the complete directory.
        identity: the source of the files; JSON values by name.
    """
    files = _files(directory)
    hashes = "".join(f"{sha256_of(path)}  {name}\n" for name, path in files.items())
    (directory / HASHES).write_text(hashes, "utf-8")
    sizes = {name: path.stat().st_size for name, path in files.items()}
    (directory / MANIFEST).write_text(json.dumps({**identity, "files": sizes}, indent=1) + "\n", "utf-8")


def is_ready(directory: Path, identity: Mapping[str, Any]) -> bool:
    """Returns whether a directory has this source, its files with their sizes, and no other files.

    transformers also loads files that no model needs, such as an adapter or a template beside the weights.
    Hidden files, such as those of file managers, are loaded by nothing.
    """
    try:
        manifest = json.loads((directory / MANIFEST).read_text("utf-8"))
        files = manifest.pop("files")
        return (
            bool(manifest == identity)
            and (directory / HASHES).is_file()
            and all(name in (*files, MANIFEST, HASHES) or _is_hidden(name) for name in _files(directory))
            and all((directory / name).stat().st_size == size for name, size in files.items())
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False


def is_intact(directory: Path, identity: Mapping[str, Any]) -> bool:
    """Returns whether a directory is ready, and its files have their hashes; hashes once in a process."""
    if not is_ready(directory, identity):
        return False
    key = (directory, (directory / MANIFEST).stat().st_mtime_ns)
    if key in _intact:
        return True
    try:
        lines = [line.split("  ", 1) for line in (directory / HASHES).read_text("utf-8").splitlines()]
        named = set(json.loads((directory / MANIFEST).read_text("utf-8"))["files"])
        if {name for _, name in lines} != named:
            return False
        if any(sha256_of(directory / name) != digest for digest, name in lines):
            return False
    except (OSError, ValueError):
        return False
    _intact.add(key)
    return True


def _files(directory: Path) -> dict[str, Path]:
    """Returns all entries of a directory except directories, by their names relative to it."""
    return {
        path.relative_to(directory).as_posix(): path
        for path in sorted(directory.rglob("*"))
        if path.is_symlink() or not path.is_dir()
    }


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))
