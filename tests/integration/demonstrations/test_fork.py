"""`os.fork` after a store was opened: a clear error at once, where the store's threads would be waited for."""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains import ICDPO, FakePolicy, FixedDemonstrations
from icdpo_chains.demonstrations.retrievers.two_stage import TwoStageRetriever
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import ICDPOError, StoreLockedError

from .conftest import row
from .test_killed import opened

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="a process is forked"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def in_child(call: Callable[[], Any]) -> Any:
    """Returns what a call returns in a forked process, or the text of its error."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()

    def child() -> None:
        try:
            answers.put(call())
        except ICDPOError as error:
            answers.put(f"{type(error).__name__}: {error}")

    process = context.Process(target=child)
    process.start()
    process.join(30)
    if process.exitcode is None:
        process.kill()
        pytest.fail("the forked process hangs")
    assert process.exitcode == 0
    return answers.get()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_store_that_was_opened_before_is_refused(tmp_path: Path, read_only: bool) -> None:
    with opened(tmp_path) as store:
        store.add(row(i) for i in range(20))
    with opened(tmp_path, read_only=read_only) as store:
        retriever = TwoStageRetriever(store)
        retriever.retrieve("question 3")
        uses: list[Callable[[], Any]] = [
            lambda: store.search("question 3"),
            lambda: retriever.retrieve("question 3"),
            lambda: list(store),
            lambda: len(store),
            lambda: store.fingerprint,
        ]
        if not read_only:
            uses += [lambda: store.add([row(30)]), lambda: store.remove(row(1).id)]
        for use in uses:
            said = in_child(use)
            assert "StoreError: the store in the directory" in said
            assert "load it after the fork" in said
        # A store that is closed, or forgotten, there leaves ours as it is.
        assert in_child(store.close) is None
        assert [item.metadata["row"] for item in store] == list(range(20))
        assert retriever.retrieve(row(3).prompt)[0].demonstration == row(3)
        if not read_only:
            assert store.add([row(20)]).added == 1
            with pytest.raises(StoreLockedError):
                opened(tmp_path)


def test_another_store_is_refused_as_well(tmp_path: Path) -> None:
    with opened(tmp_path / "one") as store, opened(tmp_path / "two") as other:
        other.add([row(1)])
        store.add([row(1)])
    for use in (lambda: len(opened(tmp_path / "two", read_only=True)), DemonstrationStore.ephemeral):
        said = in_child(use)
        assert "StoreError: Chroma was loaded before this process was forked" in said


def test_the_pool_of_threads_is_made_anew() -> None:
    icdpo = ICDPO(FakePolicy(["fine"]), FixedDemonstrations([row(1)]), n=2)
    assert asyncio.run(icdpo.agenerate("q")).text == "fine"
    assert in_child(lambda: asyncio.run(icdpo.agenerate("q")).text) == "fine"
    assert asyncio.run(icdpo.agenerate("q")).text == "fine"
