"""Disks that are full, read-only or damaged."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import StoreUnavailableError

from .conftest import row

IMPORT = """
if len(sys.argv) > 2:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
acknowledged = 0
def remember(report):
    global acknowledged
    acknowledged = report.total
store = open_store(sys.argv[1])
try:
    store.add((row(i) for i in range(20000)), on_batch=remember)
except ICDPOError as error:
    print(json.dumps([type(error).__name__, str(error), acknowledged]))
store.close()
"""


def opened(path: Path, **options: Any) -> DemonstrationStore:
    return DemonstrationStore(path, embedder=FakeEmbedder(), **options)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts something at a directory, where this user may."""
    mounted: list[Path] = []

    def mount(*arguments: str | Path) -> Path:
        point = tmp_path / f"mounted-{len(mounted)}"
        point.mkdir()
        command = shutil.which("mount")
        if command is None or subprocess.run([command, *arguments, point], capture_output=True).returncode:
            pytest.skip("this user may not mount anything")
        mounted.append(point)
        return point

    yield mount
    for point in mounted:
        subprocess.run(["umount", point], check=True)


def check_full(other_process: Any, path: Path, roomier: Path, *limit: int) -> None:
    importing = other_process(IMPORT, path, *limit)
    kind, message, acknowledged = importing.read()
    importing.finish()
    assert kind == "StoreUnavailableError"
    assert str(path) in message
    assert "open the store again" in message
    assert acknowledged >= 128
    shutil.copytree(path, roomier)
    with opened(roomier) as store:
        kept = len(store)
        assert kept >= acknowledged
        report = store.add(row(i) for i in range(kept + 50))
        assert (report.added, report.unchanged) == (50, kept)
        ids = [item.id for item in store]
        assert ids == [row(i).id for i in range(kept + 50)]
        assert len(store.nearest(store.embed(["question"])[0], len(ids), ids=ids)) == len(ids)


@pytest.mark.parametrize("size", ["1m", pytest.param("3m", marks=pytest.mark.slow)])
def test_a_full_disk_loses_nothing_that_was_acknowledged(
    mount: Callable[..., Path], other_process: Any, tmp_path: Path, size: str
) -> None:
    check_full(
        other_process, mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs") / "store", tmp_path / "roomier"
    )


def test_a_file_that_may_not_grow_loses_nothing_either(other_process: Any, tmp_path: Path) -> None:
    check_full(other_process, tmp_path / "store", tmp_path / "roomier", 1_000_000)


def test_a_read_only_file_system(mount: Callable[..., Path], tmp_path: Path) -> None:
    real = tmp_path / "real"
    with opened(real) as store:
        store.add([row(0)])
    point = mount("--bind", real)
    subprocess.run(["mount", "-o", "remount,bind,ro", point], check=True)
    for read_only in (False, True):
        with pytest.raises(
            StoreUnavailableError, match=rf"{point}.*Read-only file system.*writable directory"
        ):
            opened(point, read_only=read_only)
    with opened(real) as store:
        assert list(store) == [row(0)]


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("damage", ["garbage", "cut", "scrambled"])
def test_a_damaged_database(tmp_path: Path, damage: str, read_only: bool) -> None:
    with opened(tmp_path) as store:
        store.add(row(i) for i in range(600))
    database = tmp_path / "chroma.sqlite3"
    whole = database.read_bytes()
    database.write_bytes(
        {
            "garbage": b"not a database at all" * 10_000,
            "cut": whole[:50_000],
            "scrambled": whole[:20_000] + bytes(reversed(whole[20_000:80_000])) + whole[80_000:],
        }[damage]
    )
    with pytest.raises(StoreUnavailableError, match=rf"{tmp_path}.*damaged.*restore it from a copy"):
        opened(tmp_path, read_only=read_only)
    # The lock is let go, and nothing of the failure stays in the process.
    database.write_bytes(whole)
    with opened(tmp_path, read_only=read_only) as store:
        assert len(list(store)) == 600
