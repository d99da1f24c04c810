"""Several processes that write to one server and read from it at once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

from icdpo_chains import Demonstration, TwoStageRetriever
from tests.chroma_server import ChromaServer

from . import client


def test_nothing_is_lost_nothing_is_twice_and_the_index_follows(server: ChromaServer) -> None:
    roles = [("write", i) for i in range(client.WRITERS)] + [("read", i) for i in range(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, Path(client.__file__), str(server.port), role, str(number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for role, number in roles
    ]
    try:
        ends = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes] == [0] * len(roles), ends
    reports = [json.loads(out) for out, _ in ends]
    assert reports[: client.WRITERS] == [{"added": client.OWN, "removed": 10}] * client.WRITERS
    with server.connect("several") as store:
        rows = list(store)
        assert sorted(row.id for row in rows) == sorted(row.id for row in client.kept())
        assert {row.id: row for row in rows} == {row.id: row for row in client.kept()}
        retriever = TwoStageRetriever(store, k=1)
        for gone in client.own(2)[:10]:
            assert retriever.retrieve(gone.messages)[0].demonstration != gone


def test_each_change_by_any_client_changes_the_fingerprint(server: ChromaServer) -> None:
    rounds = 15
    with (
        server.connect("stamped") as one,
        server.connect("stamped") as other,
        server.connect("stamped") as third,
    ):
        together = threading.Barrier(2)
        seen = [third.fingerprint]
        for number in range(rounds):

            def change(store, name, number=number):
                together.wait()
                store.add([Demonstration(f"{name} {number}", "good")])
                if number:  # as many go as come
                    store.remove(Demonstration(f"{name} {number - 1}", "good").id)

            threads = [
                threading.Thread(target=change, args=pair) for pair in ((one, "one"), (other, "other"))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            seen.append(third.fingerprint)
            assert sorted(row.prompt for row in third) == [f"one {number}", f"other {number}"]
        assert len(set(seen)) == rounds + 1
