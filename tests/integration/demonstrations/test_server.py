"""A real Chroma server on loopback."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from icdpo_chains.demonstrations.chroma.adding import AddReport
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.demonstrations.retrievers.two_stage import TwoStageRetriever
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import EmbedderMismatchError, StoreError, StoreUnavailableError
from tests.chroma_server import ChromaServer

from .conftest import row


def connect(port: int, collection: str, embedder: FakeEmbedder | None = None) -> DemonstrationStore:
    return DemonstrationStore.connect(port=port, collection=collection, embedder=embedder or FakeEmbedder())


@contextlib.contextmanager
def running(path: Path) -> Iterator[int]:
    """Runs a server as long as it is used; it finds what an earlier one left in the directory."""
    server = ChromaServer(path)
    try:
        server.start()
        yield server.port
    finally:
        server.kill()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running(tmp_path_factory.mktemp("server")) as port:
        yield port


def test_add_search_retrieve_remove(port: int) -> None:
    with connect(port, "whole") as store:
        rows = [row(i) for i in range(300)]
        nasty = Demonstration(
            "nul \0 {x} \n" + "x" * 100_000, "y" * 100_000, metadata={"a": [None, {"b": 2**70}]}
        )
        assert store.add([*rows, nasty]) == AddReport(added=301)
        assert store.add([*rows, nasty]) == AddReport(unchanged=301)
        assert list(store) == [*rows, nasty]
        assert store.search(rows[7].prompt, k=2)[0][0] == rows[7]
        (found,) = TwoStageRetriever(store, k=1).retrieve(rows[8].prompt)
        assert found.demonstration == rows[8]
        assert found.similarity == pytest.approx(1, abs=1e-5)
        assert store.remove([item.id for item in rows[:100]]) == 100
        assert store.list(where={"row": {"$lt": 102}}) == rows[100:102]
        assert store.path is None
        assert f"127.0.0.1:{port}" in repr(store)


def test_several_clients_write_and_each_sees_it_all(port: int) -> None:
    with connect(port, "several") as one, connect(port, "several") as other:
        retriever = TwoStageRetriever(one, k=1)
        assert retriever.retrieve("question 3") == []
        other.add([row(3)])
        assert retriever.retrieve("question 3")[0].demonstration == row(3)
        one.add([row(4)])
        other.remove(row(3).id)
        assert retriever.retrieve("question 3")[0].demonstration == row(4)
        assert list(one) == list(other) == [row(4)]


def test_another_embedder_is_refused_by_name_and_by_dimension(port: int) -> None:
    connect(port, "named", FakeEmbedder(name="first")).close()
    with pytest.raises(EmbedderMismatchError, match=r"server at 127.*'first', not with 'second'"):
        connect(port, "named", FakeEmbedder(name="second"))
    with connect(port, "sized") as one, connect(port, "sized", FakeEmbedder(9)) as other:
        one.add([row(0)])
        with pytest.raises(EmbedderMismatchError, match="dimension of 64, got 9"):
            other.add([row(1)])
        assert list(one) == [row(0)]


@pytest.mark.slow
def test_a_large_import_fits_into_the_server_s_requests(port: int) -> None:
    with connect(port, "large") as store:
        rows = [Demonstration(f"large {i}", "x" * 1_000_000, "y" * 400_000) for i in range(40)]
        assert store.add(rows) == AddReport(added=40)
        assert len(list(store)) == 40


def test_a_server_that_goes_away_is_an_error_that_says_so(tmp_path: Path) -> None:
    with running(tmp_path) as port:
        store = DemonstrationStore.connect(
            port=port, collection="going", embedder=FakeEmbedder(), retry_for=0
        )
        store.add([row(0)])
    for use in (
        lambda: store.add([row(1)]),
        lambda: len(store),
        lambda: TwoStageRetriever(store).retrieve("q"),
    ):
        with pytest.raises(
            StoreUnavailableError, match=rf"127.0.0.1:{port} does not answer.*check that it runs"
        ):
            use()
    with running(tmp_path) as port, connect(port, "going") as store:
        assert list(store) == [row(0)]


def test_a_server_that_is_no_chroma_server() -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(StoreUnavailableError, match=r"can't be reached.*check its address"):
            connect(server.server_port, "other")
        server.shutdown()


def test_a_collection_that_somebody_deletes(port: int) -> None:
    with connect(port, "deleted") as store:
        store.add([row(0)])
        store._collection.place._client.delete_collection("deleted")
        with pytest.raises(StoreError, match="does not exist"):
            store.add([row(1)])
