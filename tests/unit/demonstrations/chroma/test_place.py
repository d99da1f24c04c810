"""What goes wrong between us and Chroma, told in words that say what to do."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains.demonstrations.chroma.local import Directory, ReadOnlyDirectory
from icdpo_chains.demonstrations.chroma.place import Memory
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import (
    EmbedderMismatchError,
    ICDPOError,
    StoreError,
    StoreLockedError,
    StoreUnavailableError,
)


class PanicException(BaseException):
    """As Chroma's Rust side raises it."""


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (OSError(28, "No space left on device"), StoreUnavailableError, "free some space"),
        (RuntimeError("(code: 13) database or disk is full"), StoreUnavailableError, "free some space"),
        (RuntimeError("attempt to write a readonly database"), StoreUnavailableError, "writable directory"),
        (OSError(30, "Read-only file system"), StoreUnavailableError, "writable directory"),
        (PermissionError(13, "Permission denied"), StoreUnavailableError, "writable directory"),
        (RuntimeError("database disk image is malformed"), StoreUnavailableError, "restore it from a copy"),
        (RuntimeError("file is not a database"), StoreUnavailableError, "restore it from a copy"),
        (PanicException("disk image is malformed"), StoreUnavailableError, "restore it from a copy"),
        (
            RuntimeError("Error loading hnsw index"),
            StoreUnavailableError,
            "open the store again.*repairs its index",
        ),
        (
            RuntimeError("Collection expecting embedding with dimension of 8, got 9"),
            EmbedderMismatchError,
            "8, got 9",
        ),
    ],
)
def test_each_error_says_where_what_and_what_to_do(
    error: BaseException, kind: type[ICDPOError], says: str
) -> None:
    with pytest.raises(kind, match=rf"(?s)memory.*{says}") as caught, Memory().errors():
        raise error
    assert caught.value.__cause__ is error


def test_what_is_not_known_is_passed_on_with_its_own_words() -> None:
    memory = Memory()
    memory.collection("demonstrations-x", {"a": 1})
    with pytest.raises(StoreError, match="refused a request to the store in memory: odd"), memory.errors():
        raise RuntimeError("odd")
    memory.close()
    memory.close()


@pytest.mark.parametrize(
    "error", [ValueError("no such operator"), TypeError("x"), KeyboardInterrupt(), SystemExit()]
)
def test_wrong_arguments_and_interruptions_pass_as_they_are(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, Memory().errors():
        raise error
    assert caught.value is error


def test_a_read_that_met_a_removal_is_made_again() -> None:
    errors = iter([RuntimeError("Error executing plan: Internal error: Error finding id")])

    def get(ids: list[str]) -> list[str]:
        for error in errors:
            raise error
        return ids

    assert Memory().request(get, ids=["a"]) == ["a"]


def test_one_writer_at_a_time_also_within_a_process(tmp_path: Path) -> None:
    with DemonstrationStore(tmp_path, embedder=FakeEmbedder()) as writer:
        with pytest.raises(StoreLockedError, match=rf"{tmp_path}.*close it.*read_only=True.*server"):
            DemonstrationStore(tmp_path, embedder=FakeEmbedder())
        assert writer.add([Demonstration("q", "good")]).added == 1
    with DemonstrationStore(tmp_path, embedder=FakeEmbedder()) as writer:
        assert len(writer) == 1


def test_another_thread_may_close_it(tmp_path: Path) -> None:
    store = DemonstrationStore(tmp_path, embedder=FakeEmbedder())
    thread = threading.Thread(target=store.close)
    thread.start()
    thread.join()
    with DemonstrationStore(tmp_path, embedder=FakeEmbedder()) as again:
        assert again.add([Demonstration("q", "good")]).added == 1


def test_a_failed_opening_lets_the_directory_go(tmp_path: Path) -> None:
    DemonstrationStore(tmp_path, embedder=FakeEmbedder(name="first")).close()
    with pytest.raises(EmbedderMismatchError, match=r"'first', not with 'second'.*open it with 'first'"):
        DemonstrationStore(tmp_path, embedder=FakeEmbedder(name="second"))
    with pytest.raises(EmbedderMismatchError, match=r"'first', not with 'second'"):
        DemonstrationStore(tmp_path, embedder=FakeEmbedder(name="second"), read_only=True)
    with DemonstrationStore(tmp_path, embedder=FakeEmbedder(name="first")) as store:
        assert len(store) == 0
        assert store.path == tmp_path


def test_reading_sees_what_is_written_and_writes_nothing(tmp_path: Path) -> None:
    with DemonstrationStore(tmp_path, embedder=FakeEmbedder()) as writer:
        # Two readers: Chroma would let them share what the first one loaded.
        readers = [DemonstrationStore(tmp_path, embedder=FakeEmbedder(), read_only=True) for _ in range(2)]
        rows = [Demonstration(f"question {i}", "good") for i in range(3)]
        for row in rows:
            writer.add([row])
            for reader in readers:
                assert reader.search(row.prompt, k=1)[0][0] == row
        writer.remove(rows[0].id)
        for reader in readers:
            assert rows[0] not in [item for item, _ in reader.search("question 0")]
            assert list(reader) == rows[1:]
            for write in (lambda r=reader: r.add(rows), lambda r=reader: r.remove(rows[1].id)):
                with pytest.raises(StoreError, match="open it without read_only=True"):
                    write()
            reader.close()
        assert list(writer) == rows[1:]


def test_reading_sees_a_change_that_was_interrupted(tmp_path: Path) -> None:
    up, down = Demonstration("question", "good"), Demonstration("question", None, "bad")
    with DemonstrationStore(tmp_path, embedder=FakeEmbedder()) as writer:
        writer.add([up])
        with DemonstrationStore(tmp_path, embedder=FakeEmbedder(), read_only=True) as reader:
            assert list(reader) == [up]
            before, request = reader.fingerprint, writer._collection._request

            def interrupted(name: str, **arguments: Any) -> Any:
                if name == "delete":  # the pair is there, and the thumb as well
                    raise KeyboardInterrupt
                return request(name, **arguments)

            writer._collection._request = interrupted  # type: ignore[method-assign]
            with pytest.raises(KeyboardInterrupt):
                writer.add([down])
            writer._collection._request = request  # type: ignore[method-assign]
            assert reader.fingerprint != before
            assert len(reader.search("question")) == len(reader) == 2
            writer.add([down])
            assert [item.id for item in reader] == [Demonstration("question", "good", "bad").id]


def test_reading_where_there_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match=r"there is no store in .*absent.*icdpo import"):
        DemonstrationStore(tmp_path / "absent", embedder=FakeEmbedder(), read_only=True)
    assert not (tmp_path / "absent").exists()
    DemonstrationStore(tmp_path, embedder=FakeEmbedder()).close()
    with pytest.raises(
        StoreError, match="no collection 'others': use one of its collections: demonstrations"
    ):
        DemonstrationStore(tmp_path, embedder=FakeEmbedder(), collection="others", read_only=True)


@pytest.mark.parametrize("name", ["x", "with blank", "../up"])
def test_a_name_that_chroma_refuses(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match=r"3-512 characters"):
        DemonstrationStore(tmp_path, embedder=FakeEmbedder(), collection=name)


def test_a_collection_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    place = Directory(tmp_path)
    place.collection("theirs", {"owner": "somebody"})
    place.close()
    with pytest.raises(StoreError, match=r"'theirs'.*not made by icdpo-chains"):
        DemonstrationStore(tmp_path, embedder=FakeEmbedder(), collection="theirs")


def test_a_file_where_the_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreUnavailableError, match=r"file.*can't be written.*give another one"):
        DemonstrationStore(tmp_path / "file", embedder=FakeEmbedder())
    assert (tmp_path / "file").read_text() == "mine"


def test_waiting_for_a_writer_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icdpo_chains.demonstrations.chroma.directory._PATIENCE", 0.01)
    writer = Directory(tmp_path)
    collection = writer.collection("demonstrations", {"a": 1})
    with writer.writing(collection), pytest.raises(StoreLockedError, match="wait for the writer to finish"):
        ReadOnlyDirectory(tmp_path).collection("demonstrations", {})
    writer.close()


def test_the_mark_of_writing_stays_only_where_a_write_failed(tmp_path: Path) -> None:
    place = Directory(tmp_path)
    collection = place.collection("demonstrations", {"icdpo:embedder": "fake-embedder"})
    marks = lambda: len(list(tmp_path.glob("icdpo-writing-*")))  # noqa: E731
    with place.writing(collection):
        assert marks() == 1
    assert marks() == 0
    with pytest.raises(ValueError, match="refused"), place.writing(collection):
        raise ValueError("refused")
    assert marks() == 0
    with pytest.raises(KeyboardInterrupt), place.writing(collection):
        raise KeyboardInterrupt
    assert marks() == 0
    with pytest.raises(OSError, match="full"), place.writing(collection):
        raise OSError("full")
    with place.writing(collection):  # a later write does not make up for it
        pass
    assert marks() == 1
    assert not ReadOnlyDirectory(tmp_path / "elsewhere").damaged("demonstrations")
    assert ReadOnlyDirectory(tmp_path).damaged("demonstrations")
    place.close()
    with DemonstrationStore(tmp_path, embedder=FakeEmbedder()):
        assert marks() == 0
