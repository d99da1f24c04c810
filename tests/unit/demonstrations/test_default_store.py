"""The store that is used where none is named."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from icdpo_chains.demonstrations.default_store import default_store_path, open_default_store
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.demonstrations.starter import starter_demonstrations
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import StoreLockedError, StoreUnavailableError


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ICDPO_STORE", str(tmp_path / "deep" / "store"))
    return tmp_path / "deep" / "store"


def test_the_environment_names_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_store_path() == path
    monkeypatch.setenv("ICDPO_STORE", "~/store")
    assert default_store_path() == Path.home() / "store"
    monkeypatch.setenv("ICDPO_STORE", "")
    assert default_store_path().parts[-2:] == ("icdpo-chains", "demonstrations")


def test_it_begins_with_the_starter_set_also_where_it_is_only_read(path: Path) -> None:
    with open_default_store(read_only=True, embedder=FakeEmbedder()) as store:
        assert list(store) == starter_demonstrations()
        assert store.path == path


def test_what_the_user_removes_stays_removed(path: Path) -> None:
    first, *others = starter_demonstrations()
    with open_default_store(embedder=FakeEmbedder()) as store:
        assert store.remove(first.id) == 1
    with open_default_store(embedder=FakeEmbedder()) as store:
        assert list(store) == others


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("count", [0, 1])
def test_a_store_of_the_user_s_own_stays_as_it_is(path: Path, read_only: bool, count: int) -> None:
    own = [Demonstration("mine", "good", "bad")][:count]
    with DemonstrationStore(path, embedder=FakeEmbedder()) as store:
        store.add(own)
    before = sorted(path.iterdir())
    for _ in range(2):
        with open_default_store(read_only=read_only, embedder=FakeEmbedder()) as store:
            assert list(store) == own
    assert sorted(path.iterdir()) == before


def test_filling_that_was_interrupted_is_gone_on_with(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(DemonstrationStore, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            open_default_store(embedder=FakeEmbedder())
    for _ in range(2):
        with open_default_store(read_only=True, embedder=FakeEmbedder()) as store:
            assert list(store) == starter_demonstrations()


def test_several_that_start_at_once_fill_it_once(path: Path) -> None:
    def reading() -> int:
        with open_default_store(read_only=True, embedder=FakeEmbedder()) as store:
            return len(store)

    with ThreadPoolExecutor(4) as threads:
        counts = [threads.submit(reading) for _ in range(4)]
        assert {count.result() for count in counts} == {len(starter_demonstrations())}


def test_it_is_written_by_one_at_a_time(path: Path) -> None:
    with open_default_store(embedder=FakeEmbedder()), pytest.raises(StoreLockedError, match="read_only=True"):
        open_default_store(embedder=FakeEmbedder())


def test_a_path_that_can_not_be_made(path: Path) -> None:
    path.parent.write_text("a file")
    with pytest.raises(StoreUnavailableError, match=r"deep.*can't be created.*ICDPO_STORE"):
        open_default_store(embedder=FakeEmbedder())
