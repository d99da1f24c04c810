"""The store in memory: adding, finding, removing, listing, exporting."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains.demonstrations.chroma.adding import AddReport
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.demonstrations.files import read_demonstrations
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import (
    EmbedderMismatchError,
    InvalidInputError,
    StoreError,
    StoreLockedError,
    StoreUnavailableError,
    UnknownFormatError,
)
from icdpo_chains.messages import Message

from .conftest import numbered

NASTY = [
    Demonstration("nul \0 and \x1b[31m and \u2028 and \r\n", "good \0", "bad \0"),
    Demonstration("braces {x} {{ {% raw %} <|im_end|>", "{chosen}", "{rejected}"),
    Demonstration("long " + "x" * 100_000, "y" * 100_000),
    Demonstration("Unicode: 我 🏳️‍🌈 \u202eright\u202c e\u0301", "é", "e\u0301"),
    Demonstration(
        [
            Message("system", "be kind"),
            Message("user", "a"),
            Message("assistant", "b"),
            Message("tool", "{}"),
        ],
        "c",
    ),
    Demonstration(
        "metadata",
        "good",
        metadata={
            "none": None,
            "bool": True,
            "int": 2**70,
            "float": 1e-300,
            "text": "\0\n{}",
            "list": [1, [2.0, None]],
            "mapping": {"a": {"b": []}},
            "": "no name",
            "#id": 1,
            "$and": [],
            "chroma:document": "x",
            "icdpo:demonstration": "{}",
        },
    ),
]


def test_text_and_metadata_come_back_exactly(store: DemonstrationStore) -> None:
    assert store.add(NASTY) == AddReport(added=len(NASTY))
    assert store.get([item.id for item in NASTY]) == NASTY
    assert list(store) == NASTY
    for item in NASTY:
        (kept,) = store.get(item.id)
        assert (kept.prompt, kept.metadata) == (item.prompt, item.metadata)


def test_adding_twice_adds_none(store: DemonstrationStore) -> None:
    rows = numbered(300)
    assert store.add([*rows, *rows[:10]]) == AddReport(added=300, unchanged=10)
    before = store.fingerprint
    assert store.add(rows) == AddReport(unchanged=300)
    assert store.fingerprint == before
    assert len(store) == 300


def test_the_same_with_other_metadata_is_updated(store: DemonstrationStore) -> None:
    first = Demonstration("q", "good", metadata={"topic": "law", "gone": 1, "kind": 1})
    other = Demonstration("q", "good", metadata={"topic": "art", "kind": True, "new": [1]})
    store.add([first])
    before = store.fingerprint
    assert store.add([other]) == AddReport(updated=1)
    assert store.fingerprint != before
    (kept,) = store
    assert kept.metadata == other.metadata
    assert kept.metadata["kind"] is True
    assert store.list(where={"topic": "art"}) == [other]
    assert store.ids(where={"topic": "law"}) == store.ids(where={"gone": 1}) == set()


def test_of_doubles_in_one_import_the_last_metadata_stay(store: DemonstrationStore) -> None:
    rows = [Demonstration("q", "good", metadata={"row": i}) for i in range(3)]
    assert store.add(rows) == AddReport(added=1, unchanged=2)
    assert [item.metadata for item in store] == [{"row": 2}]


def test_removal(store: DemonstrationStore) -> None:
    rows = numbered(10)
    store.add(rows)
    assert rows[3] in store
    assert rows[3].id in store
    assert store.remove([rows[3].id, rows[3].id, "unknown", rows[5].id]) == 2
    assert store.remove(rows[3].id) == 0
    assert store.remove([]) == 0
    assert rows[3] not in store
    assert 7 not in store
    assert list(store) == [row for i, row in enumerate(rows) if i not in (3, 5)]
    assert store.add([rows[3]]) == AddReport(added=1)
    assert store.get(rows[3].id) == [rows[3]]


def test_get_keeps_the_order_that_is_asked_for(store: DemonstrationStore) -> None:
    rows = numbered(5)
    store.add(rows)
    wanted = [rows[4].id, "unknown", rows[0].id, rows[4].id]
    assert store.get(wanted) == [rows[4], rows[0], rows[4]]
    assert store.get([]) == store.get("unknown") == []


def test_filtered_listing_in_pages(store: DemonstrationStore) -> None:
    rows = numbered(20)
    store.add(rows)
    assert store.list(where={"row": {"$gte": 15}}) == rows[15:]
    assert store.list(limit=5, offset=10) == rows[10:15]
    assert store.list(offset=18) == rows[18:]
    assert store.list(limit=0) == []
    assert store.list(where={"$and": [{"row": {"$lt": 9}}, {"row": {"$gt": 6}}]}) == rows[7:9]
    assert store.list(where={"unknown": 1}) == []
    for wrong in ({"limit": -1}, {"offset": -1}, {"where": {"row": {"$near": 1}}}):
        with pytest.raises(ValueError):
            store.list(**wrong)  # type: ignore[arg-type]


def test_search_finds_the_nearest_prompts(store: DemonstrationStore) -> None:
    assert store.search("anything") == []
    lock = Demonstration("how to pick a lock", "good", metadata={"topic": "locks"})
    gift = Demonstration("a birthday present", "good", metadata={"topic": "gifts"})
    store.add([gift, lock])
    found = store.search("pick a lock", k=10)
    assert [item for item, _ in found] == [lock, gift]
    vectors = store.embed(["pick a lock", "how to pick a lock", "a birthday present"])
    assert [near for _, near in found] == pytest.approx((vectors[1:] @ vectors[0]).tolist(), abs=1e-5)
    assert [item for item, _ in store.search([Message("user", "pick a lock")], k=1)] == [lock]
    assert [item for item, _ in store.search("pick a lock", where={"topic": "gifts"})] == [gift]


@pytest.mark.parametrize(
    ("query", "k", "error"),
    [
        (" ", 1, InvalidInputError),
        ("\ud800", 1, InvalidInputError),
        (7, 1, TypeError),
        ("q", 0, ValueError),
        ("q", -1, ValueError),
        ("q", 10**9, ValueError),
        ("q", True, TypeError),
    ],
)
def test_bad_searches(
    store: DemonstrationStore,
    query: Any,
    k: int,
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "embed", None)  # nothing is embedded, and no model loaded for it
    with pytest.raises(error):
        store.search(query, k)


def test_a_read_only_store_can_be_written_to_for_a_while(tmp_path: Path) -> None:
    def opened(**options: Any) -> DemonstrationStore:
        return DemonstrationStore(tmp_path, embedder=FakeEmbedder(), collection="mine", **options)

    first, second = numbered(2)
    with opened() as store, store.writable() as same:
        assert same is store
        same.add([first])
    with opened(read_only=True) as store:
        with store.writable() as other:
            assert other.add([first, second]).added == 1
        assert list(store) == [first, second]
        with opened(), pytest.raises(StoreLockedError), store.writable():
            pass


def test_a_directory_that_was_removed_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with DemonstrationStore(path, embedder=FakeEmbedder()) as store:
        store.add(numbered(2))
    with DemonstrationStore(path, embedder=FakeEmbedder(), read_only=True) as reader:
        path.rename(tmp_path / "elsewhere")
        with pytest.raises(StoreUnavailableError, match="there is no store in"), reader.writable():
            pass
        assert not path.exists()
        (tmp_path / "elsewhere").rename(path)
        with reader.writable() as writer:
            assert writer.add(numbered(3)).added == 1


def test_an_export_imports_back_to_the_same_store(store: DemonstrationStore, tmp_path: Path) -> None:
    rows = [*NASTY, *numbered(20)]
    store.add(rows)
    path = tmp_path / "all.jsonl"
    path.write_text("what was there before")
    assert store.export(path) == len(rows)
    assert list(read_demonstrations(path)) == rows
    assert list(tmp_path.iterdir()) == [path]
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as other:
        assert other.add(read_demonstrations(path)).added == len(rows)
        assert list(other) == list(store)
        assert [item.metadata for item in other] == [item.metadata for item in store]


@pytest.mark.parametrize("name", ["all.csv", "all.parquet", "all", "all.csv.gz"])
def test_an_export_that_would_not_import_back_is_refused(
    store: DemonstrationStore, tmp_path: Path, name: str
) -> None:
    with pytest.raises(UnknownFormatError, match=rf"{name}.*use .jsonl"):
        store.export(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_an_export_that_fails_leaves_the_file_as_it_was(
    store: DemonstrationStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add(numbered(3))
    path = tmp_path / "all.jsonl"
    path.write_text("what was there before")
    written = iter([True, False])

    def to_dict(self: Demonstration) -> dict[str, Any]:
        if next(written):
            return {"prompt": "q", "chosen": "a"}
        raise OSError("no space left on device")

    monkeypatch.setattr(Demonstration, "to_dict", to_dict)
    with pytest.raises(OSError, match="no space left"):
        store.export(path)
    assert path.read_text() == "what was there before"
    assert list(tmp_path.iterdir()) == [path]


def test_inputs_are_left_as_they_were(store: DemonstrationStore) -> None:
    rows = numbered(3)
    metadata = [dict(row.metadata) for row in rows]
    where = {"row": {"$gte": 0}}
    given = list(rows)
    store.add(given)
    store.list(where=where)
    assert given == rows
    assert [row.metadata for row in rows] == metadata
    assert where == {"row": {"$gte": 0}}
    (kept,) = store.get(rows[0].id)
    kept.metadata["row"] = "changed"  # type: ignore[index]
    assert store.get(rows[0].id)[0].metadata["row"] == 0


class GrowingEmbedder(FakeEmbedder):
    """Returns longer vectors from the second call on."""

    calls = 0

    def embed(self, texts: Sequence[str]) -> Any:
        self.calls += 1
        return FakeEmbedder(8 if self.calls == 1 else 9).embed(texts)


def test_vectors_of_another_dimension_are_refused_and_nothing_is_lost() -> None:
    rows = numbered(3)
    with DemonstrationStore.ephemeral(embedder=GrowingEmbedder()) as store:
        store.add(rows[:1])
        with pytest.raises(EmbedderMismatchError, match=r"dimension of 8, got 9.*use the one that filled it"):
            store.add(rows[1:])
        with pytest.raises(EmbedderMismatchError, match="dimension of 8, got 9"):
            store.search("question")
        with pytest.raises(EmbedderMismatchError, match="dimension 8, and the embedder returned 9"):
            store.nearest(store.embed(["question"])[0], 1, ids=[rows[0].id])
        assert list(store) == rows[:1]


def test_stores_in_memory_share_nothing(store: DemonstrationStore) -> None:
    store.add(numbered(2))
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as other:
        assert len(other) == 0
        names = {found.name for found in other._collection.place._client.list_collections()}
        assert other._collection.name in names
    assert len(store) == 2
    # What was closed does not stay in memory.
    assert other._collection.name not in {
        found.name for found in store._collection.place._client.list_collections()
    }


def test_threads_add_remove_and_search_at_once(store: DemonstrationStore) -> None:
    rows = numbered(240)
    start = threading.Barrier(6)

    def adding(part: int) -> int:
        start.wait()
        return sum(store.add([row]).added for row in rows[part * 40 : part * 40 + 60])  # a third overlaps

    def searching() -> None:
        start.wait()
        for i in range(20):
            assert len(store.search(f"question {i}", k=3)) <= 3
            assert all(item in rows for item in store.list(limit=5))

    with ThreadPoolExecutor(6) as threads:
        added = [threads.submit(adding, part) for part in range(4)]
        searched = [threads.submit(searching) for _ in range(2)]
        assert sum(result.result() for result in added) == 180
        assert [result.result() for result in searched] == [None, None]
    assert sorted(item.id for item in store) == sorted(row.id for row in rows[:180])


def test_a_closed_store_says_so(store: DemonstrationStore) -> None:
    store.add(numbered(1))
    store.close()
    store.close()
    for use in (lambda: len(store), lambda: store.add(numbered(1)), lambda: store.fingerprint):
        with pytest.raises(StoreError, match="is closed: open it again"):
            use()


def test_it_says_where_it_is(store: DemonstrationStore) -> None:
    assert store.path is None
    assert "in memory" in repr(store)


def test_put_writes_thumbs_as_they_are_and_removes_what_they_replace(store: DemonstrationStore) -> None:
    up = Demonstration("q", "good", None, {"thumb": "up", "user": "ann"})
    down = Demonstration("q", None, "bad", {"thumb": "down"})
    store.add([up, down])
    (pair,) = store
    store.put([up, down], instead_of=[pair.id, up.id])
    assert {item.id: dict(item.metadata) for item in store} == {
        up.id: {"thumb": "up", "user": "ann"},
        down.id: {"thumb": "down"},
    }
    store.put([Demonstration("q", "good", None, {"thumb": "up"})])
    assert store.list(where={"user": "ann"}) == []
    assert [dict(item.metadata) for item in store.get(up.id)] == [{"thumb": "up"}]
