"""How an import goes in: batch by batch, with a report, and as far as it can be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from icdpo_chains.demonstrations.chroma.adding import AddReport
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.store import DemonstrationStore

from ..conftest import numbered


def test_each_batch_is_reported_and_read_lazily(store: DemonstrationStore) -> None:
    rows, taken = numbered(300), []

    def reading() -> Iterator[Demonstration]:
        for row in rows:
            taken.append(row)
            yield row

    reports = []
    assert (
        store.add(reading(), on_batch=lambda report: reports.append((report.added, len(taken)))).total == 300
    )
    assert reports == [(256, 256), (300, 300)]


def test_a_progress_bar_is_shown_where_asked_for(
    store: DemonstrationStore, capsys: pytest.CaptureFixture[str]
) -> None:
    store.add(numbered(3))
    assert capsys.readouterr().err == ""
    store.add(numbered(5), progress=True)
    assert "demonstrations" in capsys.readouterr().err


def test_batches_stay_within_the_client_s_limit(
    store: DemonstrationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(store._collection.place), "max_batch", 7)
    rows, reports = numbered(20), []
    store.add(rows, on_batch=lambda report: reports.append(report.added))
    assert reports == [7, 14, 20]
    assert list(store) == rows
    assert store.get([row.id for row in rows]) == rows
    assert store.remove([row.id for row in rows]) == 20


def test_large_demonstrations_go_in_small_batches(store: DemonstrationStore) -> None:
    reports: list[int] = []
    rows = [Demonstration(f"{i}", "x" * 1_500_000) for i in range(5)]
    store.add(rows, on_batch=lambda report: reports.append(report.added))
    assert reports == [3, 5]
    assert list(store) == rows


@pytest.mark.parametrize("failure", [OSError("truncated"), "not a demonstration"])
def test_what_was_read_before_an_error_is_stored(store: DemonstrationStore, failure: Any) -> None:
    def reading() -> Iterator[Any]:
        yield from numbered(3)
        if isinstance(failure, Exception):
            raise failure
        yield failure

    reports: list[AddReport] = []
    with pytest.raises(
        OSError if isinstance(failure, Exception) else TypeError, match=r"truncated|item 3 is of type str"
    ):
        store.add(reading(), on_batch=reports.append)
    assert reports == [AddReport(added=3)]
    assert list(store) == numbered(3)
