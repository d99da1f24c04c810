"""Directories, pipes and links in the place of a store's files are named, with the remedy."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains.demonstrations.checking import check_store
from icdpo_chains.demonstrations.default_store import open_default_store
from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.demonstrations.open_store import check_exists
from icdpo_chains.errors import StoreUnavailableError

from .conftest import row
from .test_killed import check_whole, opened

COUNT = 5


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kinds") / "store"
    with opened(path) as store:
        store.add(row(i) for i in range(COUNT))
    return path


def readers_and_writers(path: Path) -> dict[str, Callable[[], Any]]:
    return {
        "a writer": lambda: opened(path),
        "a reader": lambda: opened(path, read_only=True),
        "a command": lambda: check_exists(path),
        "the default store": lambda: open_default_store(embedder=FakeEmbedder()),
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
@pytest.mark.parametrize("new", [False, True], ids=["store", "empty directory"])
@pytest.mark.parametrize("kind", ["directory", "pipe", "link to a directory", "dangling link", "circle"])
@pytest.mark.parametrize("name", ["chroma.sqlite3", "chroma.sqlite3-journal"])
def test_a_database_that_is_no_file_is_named_with_its_remedy(
    tmp_path: Path,
    full: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kind: str,
    new: bool,
) -> None:
    """SQLite waited for a pipe, created the target of a link, and the remedy was to check the disk."""
    path, target = tmp_path / "store", tmp_path / "target"
    monkeypatch.setenv("ICDPO_STORE", str(path))
    if new:
        path.mkdir()
    else:
        shutil.copytree(full, path)
    file = path / name
    file.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "directory":
        file.mkdir()
    else:
        file.symlink_to({"link to a directory": tmp_path, "dangling link": target, "circle": file}[kind])
    leads_nowhere = kind in ("dangling link", "circle")
    remedy = "restore its target .* or remove the link and" if leads_nowhere else "move it away, and"
    then = "restore the database from a copy" if name == "chroma.sqlite3" else "open the store again"
    for use in readers_and_writers(path).values():
        with pytest.raises(StoreUnavailableError, match=rf"{re.escape(str(file))}.*: {remedy} {then}$"):
            use()
    found = check_store(path).database
    assert found is not None
    assert re.search(f": {remedy} {then}$", found)
    assert not target.exists()


@pytest.mark.parametrize("name", ["icdpo-writer.lock", "icdpo-index.lock"])
@pytest.mark.parametrize("kind", ["directory", "dangling link"])
def test_a_lock_that_is_no_file_is_named_with_its_remedy(
    tmp_path: Path, full: Path, name: str, kind: str
) -> None:
    path = tmp_path / "store"
    shutil.copytree(full, path)
    lock = path / name
    lock.unlink(missing_ok=True)
    if kind == "directory":
        lock.mkdir()
    else:
        lock.symlink_to(tmp_path / "target")
    with pytest.raises(StoreUnavailableError, match=rf"{name}.*: remove the directory or link"):
        opened(path)
    if name == "icdpo-index.lock":
        with pytest.raises(StoreUnavailableError, match=rf"{name}.*: remove the directory or link"):
            opened(path, read_only=True)
    if kind == "directory":
        lock.rmdir()
    else:
        lock.unlink()
    with opened(path) as store:
        check_whole(store, COUNT)
