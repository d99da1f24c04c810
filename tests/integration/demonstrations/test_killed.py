"""A writer that is killed with SIGKILL, and vector indexes that it left half-written."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.demonstrations.retrievers.two_stage import TwoStageRetriever
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import StoreUnavailableError

from .conftest import row

IMPORT = """
store = open_store(sys.argv[1])
store.add((row(i) for i in range(20000)), on_batch=lambda report: print(report.total, flush=True))
"""


def opened(path: Path, **options: Any) -> DemonstrationStore:
    return DemonstrationStore(path, embedder=FakeEmbedder(), **options)


def check_whole(store: DemonstrationStore, count: int) -> None:
    """All of it is there and can be found, by its words and by its vector."""
    assert [item.metadata["row"] for item in store] == list(range(count))
    ids = [item.id for item in store]
    vector = store.embed([row(count // 2).prompt])[0]  # type: ignore[list-item]
    assert {id_ for id_, _ in store.nearest(vector, count, ids=ids)} == set(ids)
    assert store.search(row(count // 2).prompt, k=1)[0][0] == row(count // 2)
    assert TwoStageRetriever(store, k=1).retrieve(row(count - 1).prompt)[0].demonstration == row(count - 1)


@pytest.mark.slow
def test_what_was_acknowledged_is_there_and_importing_again_adds_the_rest(
    other_process: Any, tmp_path: Path
) -> None:
    draw = random.Random(3)
    acknowledged = 0
    for _ in range(4):
        importing = other_process(IMPORT, tmp_path / "store")
        while importing.read() < acknowledged + 300:
            pass
        time.sleep(0.3 * draw.random())
        said = importing.kill()
        acknowledged = max([acknowledged + 300, *said])
        with opened(tmp_path / "store", read_only=True) as store:
            assert len(store) >= acknowledged
            check_whole(store, len(store))
    with opened(tmp_path / "store") as store:
        before = len(store)
        report = store.add(row(i) for i in range(before + 200))
        assert (report.added, report.unchanged) == (200, before)
        check_whole(store, before + 200)


def mark(path: Path, *, before_index: bool) -> Path:
    """Leaves what a killed writer leaves."""
    with opened(path) as store:
        mark = path / f"icdpo-writing-{store._collection._chroma.id}"
    mark.touch()
    if before_index:
        for file in path.glob("*/*"):
            file.touch()
    return mark


@pytest.mark.parametrize("read_only", [True, False])
def test_an_index_that_was_being_written_is_built_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, read_only: bool
) -> None:
    path = tmp_path / "store"
    with opened(path) as store:
        store.add(row(i) for i in range(1500))
    left = mark(path, before_index=True)
    for file in path.glob("*/data_level0.bin"):
        with file.open("r+b") as half:  # which Chroma would load without noticing
            half.seek(file.stat().st_size // 2)
            half.write(bytes(file.stat().st_size // 2))
    with caplog.at_level(logging.WARNING), opened(path, read_only=read_only) as store:
        check_whole(store, 1500)
    assert "is rebuilt" in caplog.text
    assert not left.exists()


def test_an_index_that_was_not_being_written_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "store"
    with opened(path) as store:
        store.add(row(i) for i in range(1100))
    time.sleep(0.02)  # file times are counted in steps of some milliseconds
    left = mark(path, before_index=False)
    with opened(path, read_only=True) as store:
        check_whole(store, 1100)
    assert not caplog.text
    assert not left.exists()


def test_rebuilding_that_is_killed_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store"
    with opened(path) as store:
        store.add(row(i) for i in range(1100))
    mark(path, before_index=True)
    (file,) = path.glob("*/length.bin")
    file.write_bytes(b"half")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(DemonstrationStore, "_vectors", killed)
        with pytest.raises(KeyboardInterrupt):
            opened(path)
    with opened(path) as store:
        check_whole(store, 1100)


@pytest.mark.parametrize("read_only", [True, False])
def test_an_index_that_can_not_be_loaded_is_built_anew(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "store"
    with opened(path) as store:
        store.add(row(i) for i in range(1100))
    (file,) = path.glob("*/header.bin")
    file.unlink()
    with opened(path, read_only=read_only) as store:
        check_whole(store, 1100)


class FailingEmbedder(FakeEmbedder):
    """Fails, or is interrupted, after so many texts."""

    def __init__(self, error: BaseException, after: int) -> None:
        super().__init__()
        self._error, self._left = error, after

    def embed(self, texts: Sequence[str]) -> Any:
        self._left -= len(texts)
        if self._left < 0:
            raise self._error
        return super().embed(texts)


@pytest.mark.parametrize(
    ("error", "after"),
    [
        pytest.param(KeyboardInterrupt(), 1_200, marks=pytest.mark.slow),
        (ValueError("no vectors"), 300),
        pytest.param(SystemExit(), 0, marks=pytest.mark.slow),
        pytest.param(OSError("x"), 1_200, marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_a_half_built_index_is_never_taken_for_a_whole_one(
    tmp_path: Path, error: BaseException, after: int
) -> None:
    """Chroma rewrites its vector files after a thousand additions."""
    path = tmp_path / "store"
    with opened(path) as store:
        store.add(row(i) for i in range(1500))
    for file in path.glob("*/data_level0.bin"):
        file.write_bytes(bytes(file.stat().st_size))
    for _ in range(2):
        with pytest.raises(type(error) if not isinstance(error, OSError) else StoreUnavailableError):
            DemonstrationStore(path, embedder=FailingEmbedder(error, after))
    with pytest.raises(type(error) if not isinstance(error, OSError) else StoreUnavailableError):
        DemonstrationStore(path, embedder=FailingEmbedder(error, after), read_only=True)
    with opened(path, read_only=True) as store:
        check_whole(store, 1500)
    assert not [*path.glob("icdpo-writing-*"), *path.glob("icdpo-rebuilding-*")]
