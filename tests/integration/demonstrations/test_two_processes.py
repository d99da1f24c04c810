"""A directory that another process has open for writing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.demonstrations.retrievers.random import RandomRetriever
from icdpo_chains.demonstrations.retrievers.two_stage import TwoStageRetriever
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import StoreLockedError

from .conftest import row


def reader(path: Path) -> DemonstrationStore:
    return DemonstrationStore(path, embedder=FakeEmbedder(), read_only=True)


def test_a_second_writer_is_told_what_to_do_and_harms_nothing(writer: Any, tmp_path: Path) -> None:
    assert writer.ask("add", 0, 10) == 10
    with pytest.raises(
        StoreLockedError, match=r"store' is open for writing in another process.*read_only=True.*connect"
    ):
        DemonstrationStore(tmp_path / "store", embedder=FakeEmbedder())
    assert writer.ask("add", 10, 20) == 10
    writer.kill()
    with DemonstrationStore(tmp_path / "store", embedder=FakeEmbedder()) as store:
        assert list(store) == [row(i) for i in range(20)]


def test_readers_see_what_the_writer_adds_and_removes(writer: Any, tmp_path: Path) -> None:
    writer.ask("add", 0, 50)
    with reader(tmp_path / "store") as store, reader(tmp_path / "store") as second:
        retrievers = [
            TwoStageRetriever(store, k=1),
            TwoStageRetriever(second, k=1, where={"row": {"$gte": 0}}),
        ]
        for added in (50, 120, 1300):  # Chroma rewrites the files of its index every 1,000
            begin = len(store)
            assert writer.ask("add", begin, added) == added - begin
            newest = row(added - 1)
            for retriever in retrievers:
                (found,) = retriever.retrieve(newest.prompt)
                assert found.demonstration == newest
                assert found.bm25_score is not None
                assert found.similarity == pytest.approx(1, abs=1e-5)
            assert store.search(newest.prompt, k=1)[0][0] == newest
            assert len(store) == len(second) == added
        assert writer.ask("remove", 1200, 1300) == 100
        for retriever in retrievers:
            assert retriever.retrieve(row(1299).prompt)[0].demonstration != row(1299)
        assert row(1299) not in store
        assert len(RandomRetriever(second).retrieve("q", k=1300)) == 1200


def test_reading_throughout_a_long_import_finds_only_whole_things(writer: Any, tmp_path: Path) -> None:
    writer.ask("add", 0, 900)
    writer.tell("add", 900, 2600)
    seen = 0
    for _ in range(12):
        with reader(tmp_path / "store") as store:
            ids = store.ids()
            similarities = store.nearest(store.embed(["question"])[0], len(ids), ids=list(ids))
            assert {id_ for id_, _ in similarities} == ids
            assert len(ids) >= max(seen, 900)
            seen = len(ids)
    assert writer.read() == 1700
    writer.kill()
    with DemonstrationStore(tmp_path / "store", embedder=FakeEmbedder()) as store:
        assert [item.metadata["row"] for item in store] == list(range(2600))


def test_threads_retrieve_while_the_other_process_adds_and_removes(writer: Any, tmp_path: Path) -> None:
    writer.ask("add", 0, 100)
    with reader(tmp_path / "store") as store, ThreadPoolExecutor(3) as threads:
        retriever = TwoStageRetriever(store, k=3)

        def retrieving(first: int) -> None:
            for i in range(first, first + 15):
                found = retriever.retrieve(row(i).prompt)
                assert 2 <= len(found) <= 3  # the other may remove one that has just been found
                assert all(item.demonstration == row(item.demonstration.metadata["row"]) for item in found)

        results = [threads.submit(retrieving, 30 * part) for part in range(3)]
        for i in range(100, 112):
            writer.ask("add", i, i + 1)
            writer.ask("remove", i - 100, i - 99)
        for result in results:
            result.result()
        assert retriever.retrieve(row(111).prompt)[0].demonstration == row(111)


def test_several_processes_begin_at_once(other_process: Any, tmp_path: Path) -> None:
    script = """
try:
    with open_store(sys.argv[1]) as store:
        sys.stdin.read()
        print(json.dumps("wrote"))
except ICDPOError as error:
    print(json.dumps(type(error).__name__))
"""
    processes = [other_process(script, tmp_path / "store") for _ in range(3)]
    outcomes = sorted(process.finish().strip() for process in processes)
    assert set(outcomes) <= {'"StoreLockedError"', '"wrote"'}
    assert '"wrote"' in outcomes
