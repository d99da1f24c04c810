"""Every kind of damage to a store on disk: it is whole again when it is opened, or refused with the remedy."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains.cli.app import app
from icdpo_chains.demonstrations.checking import check_store
from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.demonstrations.files import read_demonstrations
from icdpo_chains.demonstrations.retrievers.two_stage import TwoStageRetriever
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import StoreUnavailableError

from .conftest import row
from .test_killed import check_whole, opened

EARLIER, COUNT, LATER = 1_100, 2_150, 3_250
FILES = ("header.bin", "data_level0.bin", "length.bin", "link_lists.bin", "index_metadata.pickle")
draw = random.Random(5)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """One store as it was at several times, by its number of demonstrations."""
    path = tmp_path_factory.mktemp("damage") / "store"
    kept = {}
    begin = 0
    for count in (50, EARLIER, COUNT, LATER):
        with opened(path) as store:
            store.add(row(i) for i in range(begin, count))
        begin = count
        kept[count] = path.with_name(str(count))
        shutil.copytree(path, kept[count])
    return kept


def damaged_file(how: str, file: Path, other: Path) -> None:
    size = file.stat().st_size
    if how == "missing":
        file.unlink()
    elif how == "zeroed":
        file.write_bytes(bytes(size))
    elif how == "cut":
        os.truncate(file, size // 2)
    elif how == "random":
        file.write_bytes(draw.randbytes(size))
    elif how == "grown":
        file.write_bytes(file.read_bytes() + b"more")
    else:
        shutil.copy2(next(other.glob(f"*-*-*-*-*/{file.name}")), file)


def index_of(path: Path) -> Path:
    return next(found for found in path.glob("*-*-*-*-*") if found.is_dir())


@pytest.mark.slow
@pytest.mark.parametrize("how", ["missing", "zeroed", "cut", "random", "grown", "older"])
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_index(tmp_path: Path, stores: dict[int, Path], name: str, how: str) -> None:
    path = tmp_path / "store"
    shutil.copytree(stores[COUNT], path)
    before = index_of(path).joinpath(name).read_bytes()
    damaged_file(how, index_of(path) / name, stores[EARLIER])
    after = index_of(path) / name
    if after.exists() and after.read_bytes() == before:
        pytest.skip("the older file is the same")
    found = check_store(path)
    assert found.index is not None
    assert name in found.index
    with opened(path, read_only=bool(len(how) % 2)) as store:
        check_whole(store, COUNT)
    assert check_store(path).whole


def no_index(path: Path, stores: dict[int, Path]) -> None:
    shutil.rmtree(index_of(path))


def older_index(path: Path, stores: dict[int, Path]) -> None:
    target = index_of(path)
    shutil.rmtree(target)
    shutil.copytree(index_of(stores[EARLIER]), target)


def newer_index(path: Path, stores: dict[int, Path]) -> None:
    target = index_of(path)
    shutil.rmtree(target)
    shutil.copytree(index_of(stores[LATER]), target)


def older_database(path: Path, stores: dict[int, Path]) -> None:
    shutil.copy2(stores[EARLIER] / "chroma.sqlite3", path)


def newer_database(path: Path, stores: dict[int, Path]) -> None:
    shutil.copy2(stores[LATER] / "chroma.sqlite3", path)


def database_of_few(path: Path, stores: dict[int, Path]) -> None:
    shutil.copy2(stores[50] / "chroma.sqlite3", path)


def fewer_records(path: Path, stores: dict[int, Path]) -> None:
    with sqlite3.connect(path / "chroma.sqlite3") as database:
        database.execute("DELETE FROM embeddings WHERE id > 1200")
        database.execute("DELETE FROM embedding_metadata WHERE id > 1200")


def no_waiting_vectors(path: Path, stores: dict[int, Path]) -> None:
    with sqlite3.connect(path / "chroma.sqlite3") as database:
        database.execute("DELETE FROM embeddings_queue")


@pytest.mark.slow
@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    ("damage", "count"),
    [
        (no_index, COUNT),
        (older_index, COUNT),
        (newer_index, COUNT),
        (older_database, EARLIER),
        (newer_database, LATER),
        (database_of_few, 50),
        (fewer_records, 1_200),
        (no_waiting_vectors, COUNT),
    ],
)
def test_database_and_index_of_different_times(
    tmp_path: Path,
    stores: dict[int, Path],
    damage: Callable[[Path, dict[int, Path]], None],
    count: int,
    read_only: bool,
) -> None:
    path = tmp_path / "store"
    shutil.copytree(stores[COUNT], path)
    damage(path, stores)
    for file in path.glob("*/*"):
        os.utime(file, (0, 0))  # no time of a file tells anything
    assert check_store(path).index is not None
    with opened(path, read_only=read_only) as store:
        check_whole(store, count)
    assert check_store(path).whole


def test_a_log_that_was_lost_does_not_swallow_what_is_added(tmp_path: Path, stores: dict[int, Path]) -> None:
    """Chroma numbers changes from 1 again, and takes new ones for old ones."""
    path = tmp_path / "store"
    shutil.copytree(stores[50], path)
    with sqlite3.connect(path / "chroma.sqlite3") as database:
        database.execute("DELETE FROM embeddings_queue")
    next(path.glob("icdpo-index-*.json")).unlink()
    with opened(path) as store:
        store.add([row(50), row(51)])
        check_whole(store, 52)
    with opened(path, read_only=True) as store:
        check_whole(store, 52)


def test_a_reader_mends_what_a_writer_that_was_killed_has_left(
    tmp_path: Path, stores: dict[int, Path]
) -> None:
    path = tmp_path / "store"
    shutil.copytree(stores[EARLIER], path)
    note = next(path.glob("icdpo-index-*.json"))
    earlier = note.read_text()
    with opened(path, read_only=True) as reader:
        check_whole(reader, EARLIER)
        with opened(path) as writer:
            writer.add(row(i) for i in range(EARLIER, COUNT))
            mark = path / f"icdpo-writing-{writer._collection._chroma.id}"
        note.write_text(earlier)
        mark.touch()
        reader.search("question", 1)
        check_whole(reader, COUNT)
    assert not mark.exists()
    assert check_store(path).whole


@pytest.mark.parametrize("kept", [True, False], ids=["noted", "without its note"])
@pytest.mark.parametrize("how", ["emptied", "missing"])
def test_a_database_that_was_emptied_is_no_empty_store(
    tmp_path: Path, stores: dict[int, Path], how: str, kept: bool
) -> None:
    path = tmp_path / "store"
    shutil.copytree(stores[COUNT], path)
    if how == "emptied":
        path.joinpath("chroma.sqlite3").write_bytes(b"")
    else:
        path.joinpath("chroma.sqlite3").unlink()
    if not kept:
        next(path.glob("icdpo-index-*.json")).unlink()
    for read_only in (False, True):
        with pytest.raises(StoreUnavailableError, match=r"restore the database from a copy|no store in"):
            opened(path, read_only=read_only)
    assert len(list(index_of(path).iterdir())) == len(FILES)
    shutil.copy2(stores[COUNT] / "chroma.sqlite3", path)
    with opened(path) as store:
        check_whole(store, COUNT)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
@pytest.mark.parametrize("what", ["the index is a file", "the index is a link", "the note is a pipe"])
def test_a_file_of_another_kind(tmp_path: Path, stores: dict[int, Path], what: str) -> None:
    path, away = tmp_path / "store", tmp_path / "away"
    shutil.copytree(stores[EARLIER], path)
    index, note = index_of(path), next(path.glob("icdpo-index-*.json"))
    if what == "the note is a pipe":
        note.unlink()
        os.mkfifo(note)
    else:
        index.rename(away)
        if what == "the index is a file":
            index.write_text("x")
        else:
            (away / "header.bin").write_bytes(b"x")
            index.symlink_to(away)
    with opened(path) as store:
        check_whole(store, EARLIER)
    assert check_store(path).whole
    assert not away.exists() or (away / "data_level0.bin").exists()


def hidden_collection(database: Path) -> None:
    """Empties the index in which Chroma looks for a collection's name."""
    with sqlite3.connect(database) as opened:
        (page,) = opened.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_collections_2'"
        ).fetchone()
        (size,) = opened.execute("PRAGMA page_size").fetchone()
    content = bytearray(database.read_bytes())
    empty = bytes([0x0A, 0, 0, 0, 0]) + size.to_bytes(2, "big")
    content[(page - 1) * size : page * size] = empty.ljust(size, b"\0")
    database.write_bytes(content)


def damaged_schema(database: Path) -> None:
    """SQLite repeats a text that is not UTF-8, which Python's sqlite3 can't read."""
    content = database.read_bytes()
    assert b"CREATE TABLE embeddings " in content
    database.write_bytes(content.replace(b"CREATE TABLE embeddings ", b"CREATE TABLE embe\xf3\xff\xf3  "))


def lost_table(database: Path) -> None:
    with sqlite3.connect(database) as opened:
        opened.execute("ALTER TABLE embedding_metadata RENAME TO lost")


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("damage", [hidden_collection, damaged_schema, lost_table])
def test_a_damaged_database_is_refused_and_gets_no_second_collection(
    tmp_path: Path, stores: dict[int, Path], damage: Callable[[Path], None], read_only: bool
) -> None:
    path = tmp_path / "store"
    shutil.copytree(stores[50], path)
    damage(path / "chroma.sqlite3")
    assert check_store(path).database is not None
    with (
        pytest.raises(StoreUnavailableError, match=r"damaged.* restore it from a copy"),
        opened(path, read_only=read_only) as store,
    ):
        list(store)
    if damage is not damaged_schema:
        with sqlite3.connect(path / "chroma.sqlite3") as database:
            assert len(database.execute("SELECT * FROM collections").fetchall()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "how"), [("", ""), ("header.bin", "cut"), ("link_lists.bin", "zeroed"), (FILES[-1], "missing")]
)
def test_a_store_of_an_earlier_version_is_tried_in_another_process(
    tmp_path: Path, stores: dict[int, Path], name: str, how: str
) -> None:
    """Chroma crashes on some of these files."""
    path = tmp_path / "store"
    shutil.copytree(stores[COUNT], path)
    note = next(path.glob("icdpo-index-*.json"))
    note.unlink()
    if name:
        damaged_file(how, index_of(path) / name, path)
    assert (check_store(path).index is not None) == bool(name)
    with opened(path, read_only=True) as store:
        check_whole(store, COUNT)
    assert note.exists()


def test_files_that_are_not_in_use_do_not_count(tmp_path: Path, stores: dict[int, Path]) -> None:
    path = tmp_path / "store"
    shutil.copytree(stores[50], path)
    for file in index_of(path).iterdir():
        file.write_bytes(b"x")
    assert check_store(path).whole
    with opened(path, read_only=True) as store:
        check_whole(store, 50)


@pytest.mark.parametrize(
    "content", ["{", "null", "[]", '{"prompt": 3, "chosen": "x"}', None, b"\xff\xfe", "other"]
)
def test_one_damaged_record_costs_one_record(
    tmp_path: Path, stores: dict[int, Path], content: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "store"
    shutil.copytree(stores[50], path)
    if content == "other":  # a record that can be read, of other words
        content = json.dumps(row(21).to_dict()).replace("good 21", "good 99")
    with sqlite3.connect(path / "chroma.sqlite3") as database:
        update = (
            "UPDATE embedding_metadata SET string_value = ? WHERE key = 'icdpo:demonstration' AND id = "
            "(SELECT id FROM embeddings WHERE embedding_id = ?)"
        )
        assert database.execute(update, (content, row(20).id)).rowcount == 1
    others = [row(i) for i in range(50) if i != 20]
    found = check_store(path)
    assert (found.records, list(found.damaged), found.whole) == (49, [row(20).id], False)
    with opened(path, read_only=True) as store:
        assert list(store) == others
        assert store.list(limit=50) == others
        assert store.get([row(20).id, row(21).id]) == [row(21)]
        assert {item.id for item, _ in store.search(row(20).prompt, 50)} == {item.id for item in others}
        assert len(TwoStageRetriever(store, 40).retrieve(row(20).prompt)) >= 39
        store.export(tmp_path / "all.jsonl")
        assert list(read_demonstrations(tmp_path / "all.jsonl")) == others
    assert caplog.text.count("is left out") == 1
    again = tmp_path / "again"
    shutil.copytree(path, again)
    with opened(again) as store:  # added again, it takes its own place
        assert store.add([row(20), row(21)]).added == 1
        assert row(20) in list(store)
    assert check_store(again).whole
    with opened(path) as store:
        assert store.take_out_damaged(path / "damaged-records.jsonl") == 1
        assert list(store) == others
    (line,) = (path / "damaged-records.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == row(20).id
    assert check_store(path).whole


def test_a_damaged_record_is_no_obstacle_to_mending_the_index(
    tmp_path: Path, stores: dict[int, Path]
) -> None:
    path = tmp_path / "store"
    shutil.copytree(stores[COUNT], path)
    with sqlite3.connect(path / "chroma.sqlite3") as database:
        database.execute(
            "UPDATE embedding_metadata SET string_value = 'x' WHERE key = 'icdpo:demonstration' AND id = 700"
        )
    shutil.rmtree(index_of(path))
    with opened(path) as store:
        assert len(list(store)) == COUNT - 1
        assert len(store.search(row(3).prompt, 3_000)) == COUNT - 1
    with DemonstrationStore(path, embedder=FakeEmbedder(), read_only=True) as store:
        assert len(store.search(row(3).prompt, 3_000)) == COUNT - 1


@pytest.mark.slow
def test_the_command_line_checks_and_repairs(
    tmp_path: Path, stores: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    monkeypatch.setattr("icdpo_chains.demonstrations.store.SentenceTransformerEmbedder", FakeEmbedder)
    path = tmp_path / "store"
    shutil.copytree(stores[COUNT], path)
    run = CliRunner().invoke(app, ["demos", "check", "--store", str(path)])
    assert (run.exit_code, run.stdout) == (
        0,
        "database: whole\nindex: whole\nrecords: 2150 whole, 0 damaged\n",
    )
    with sqlite3.connect(path / "chroma.sqlite3") as database:
        database.execute(
            "UPDATE embedding_metadata SET string_value = 'x' WHERE key = 'icdpo:demonstration' AND id = 700"
        )
    index_of(path).joinpath("header.bin").write_bytes(b"")
    run = CliRunner().invoke(app, ["demos", "check", "--store", str(path)])
    assert run.exit_code == 1
    assert "the index file header.bin has 0 bytes, and had 100" in run.stdout
    assert "records: 2149 whole, 1 damaged" in run.stdout
    assert "--repair" in run.stdout
    run = CliRunner().invoke(app, ["demos", "check", "--repair", "--json", "--store", str(path)])
    assert run.exit_code == 0
    assert json.loads(run.stdout) == {
        "database": None,
        "index": None,
        "records": 2149,
        "damaged": {},
        "repaired": True,
    }
    path.joinpath("chroma.sqlite3").write_bytes(b"")
    run = CliRunner().invoke(app, ["demos", "check", "--repair", "--store", str(path)])
    assert run.exit_code == 1
    assert "restore the database from a copy" in run.stdout
