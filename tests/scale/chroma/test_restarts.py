"""A server that is killed and started again in the middle of what it is asked."""

from __future__ import annotations

import threading
import time

import pytest

from icdpo_chains import AddReport, Demonstration, ICDPOError, TwoStageRetriever
from icdpo_chains.errors import StoreUnavailableError
from tests.chroma_server import ChromaServer


def rows(count: int) -> list[Demonstration]:
    return [Demonstration(f"question{i} of many", f"good {i}", f"bad {i}", {"row": i}) for i in range(count)]


def test_an_import_goes_on_where_the_server_was_killed(server: ChromaServer) -> None:
    wanted, restarts = rows(3000), []
    with server.connect("imported") as store:

        def on_batch(report: AddReport) -> None:
            if report.total // 256 in (2, 5, 9):  # between two requests, or within one
                threading.Timer(
                    0.02 * len(restarts), lambda: restarts.append(server.restart_after(1))
                ).start()

        assert store.add(wanted, on_batch=on_batch) == AddReport(added=len(wanted))
        for restart in restarts:
            restart.join()
        assert len(restarts) == 3
        assert list(store) == wanted
        retriever = TwoStageRetriever(store, k=1)
        for row in wanted[::101]:
            assert store.search(row.prompt, k=1)[0][0] == row
            assert retriever.retrieve(row.prompt)[0].demonstration == row


def test_reads_wait_for_a_server_that_is_gone_for_ten_seconds(server: ChromaServer) -> None:
    wanted, took, done = rows(50), [0.0], threading.Event()
    with server.connect("read") as store:
        store.add(wanted)
        retriever = TwoStageRetriever(store, k=1)
        errors: list[Exception] = []

        def read() -> None:
            number = 0
            while not done.is_set():
                row, began = wanted[number % len(wanted)], time.monotonic()
                try:
                    assert retriever.retrieve(row.prompt)[0].demonstration == row
                    assert store.get(row.id) == [row]
                    assert len(store) == len(wanted)
                except Exception as error:
                    errors.append(error)
                    return
                took.append(time.monotonic() - began)
                number += 1

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        time.sleep(1)
        server.restart_after(10).join()
        before = len(took)
        time.sleep(3)
        done.set()
        for reader in readers:
            reader.join()
        assert errors == []
        assert len(took) > before  # they went on
        assert max(took) > 9


def test_who_does_not_wait_is_told_and_may_go_on_later(server: ChromaServer) -> None:
    wanted = rows(3)
    with server.connect("impatient", retry_for=0.5) as store:
        store.add(wanted[:1])
        server.kill()
        for use in (
            lambda: store.add(wanted),
            lambda: store.remove(wanted[0].id),
            lambda: store.search("question0", k=1),
            lambda: store.fingerprint,
            lambda: list(store),
        ):
            with pytest.raises(
                StoreUnavailableError, match=r"does not answer.*0.5 seconds.*look whether it runs"
            ):
                use()
        server.start()
        assert store.add(wanted) == AddReport(added=2, unchanged=1)
        assert list(store) == wanted


def test_closing_while_the_server_is_gone(server: ChromaServer) -> None:
    store = server.connect("closed", retry_for=0)
    server.kill()
    store.close()
    with pytest.raises(ICDPOError, match="closed"):
        len(store)
