"""Demonstrations unlike the question are left out; where none is left, the same few stand in for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.demonstrations.retriever import RetrievedDemonstration
from icdpo_chains.demonstrations.retrievers.fixed import FixedDemonstrations
from icdpo_chains.demonstrations.retrievers.threshold import (
    GENERAL,
    GeneralDemonstrations,
    Threshold,
    ThresholdRetriever,
)
from icdpo_chains.demonstrations.retrievers.two_stage import TwoStageRetriever
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import NoDemonstrationsError

from ..conftest import numbered

ROWS = [Demonstration(f"question {i}", f"answer {i}", "no") for i in range(4)]
FIGURES = [(3.0, 0.9), (None, 0.6), (2.0, 0.4), (None, None)]


class Figures:
    """A retriever of four demonstrations with the given figures."""

    def retrieve(
        self, prompt: Any, k: int | None = None, *, exclude: Any = ()
    ) -> list[RetrievedDemonstration]:
        pairs = zip(ROWS, FIGURES, strict=True)
        return [RetrievedDemonstration(row, *figures) for row, figures in pairs if row.id not in exclude][:k]


def kept(found: Sequence[RetrievedDemonstration]) -> list[int]:
    return [ROWS.index(item.demonstration) for item in found]


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ({}, [0, 1, 2, 3]),
        ({"min_similarity": 0.6}, [0, 1, 3]),
        ({"min_similarity": 0.95}, [3]),
        ({"min_bm25": 0.0}, [0, 1, 2, 3]),
        ({"min_bm25": 2.0}, [0, 2, 3]),
        ({"min_bm25": 2.5, "min_similarity": 0.5}, [0, 3]),
    ],
)
def test_limits(limits: dict[str, Any], left: list[int]) -> None:
    assert kept(ThresholdRetriever(Figures(), Threshold(**limits)).retrieve("a question")) == left


def test_the_substitute_comes_where_none_is_left() -> None:
    substitute = FixedDemonstrations(ROWS[::-1])
    retriever = ThresholdRetriever(Figures(), Threshold(min_similarity=0.95), substitute)
    assert kept(retriever.retrieve("a question", 2)) == [3, 2]
    assert kept(retriever.retrieve("a question", 2, exclude=[ROWS[3].id])) == [2, 1]
    assert ThresholdRetriever(Figures(), Threshold(min_similarity=0.95)).retrieve("a question", 2) == []


def test_limits_leave_alone_a_retriever_without_figures() -> None:
    retriever = ThresholdRetriever(FixedDemonstrations(ROWS), Threshold(min_similarity=1, min_bm25=9))
    assert kept(retriever.retrieve("a question")) == [0, 1, 2, 3]


def test_an_empty_store_is_an_error_with_or_without_substitute(store: DemonstrationStore) -> None:
    for substitute in ("none", "general"):
        threshold = Threshold(min_similarity=0.5, substitute=substitute)  # type: ignore[arg-type]
        retriever = threshold.applied(TwoStageRetriever(store), store, 2, require_rejected=False)
        with pytest.raises(NoDemonstrationsError, match="icdpo import"):
            retriever.retrieve("a question")


@pytest.mark.parametrize("name", ["min_similarity", "min_bm25"])
def test_limits_are_checked(name: str) -> None:
    for value, error in [(-0.1, ValueError), (float("nan"), ValueError), ("1", TypeError), (True, TypeError)]:
        with pytest.raises(error, match=name):
            Threshold(**{name: value})
    with pytest.raises(ValueError, match="from 0 to 1"):
        Threshold(min_similarity=1.01)
    with pytest.raises(ValueError, match="general, none"):
        Threshold(substitute="nothing")  # type: ignore[arg-type]


def test_general_demonstrations_are_the_same_for_each_question(store: DemonstrationStore) -> None:
    rows = numbered(20)
    store.add(rows)
    general = GeneralDemonstrations(store, 3, require_rejected=True)
    found = general.retrieve("one thing")
    assert found == general.retrieve("quite another thing")
    assert all(item.general and item.demonstration.rejected is not None for item in found)
    assert [item.demonstration for item in general.retrieve("one thing", 1)] == [found[0].demonstration]
    without = general.retrieve("one thing", exclude=[found[0].demonstration.id])
    assert without[:2] == found[1:]
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as other:
        other.add(reversed(rows))
        assert GeneralDemonstrations(other, 3, require_rejected=True).retrieve("one thing") == found


def test_marked_demonstrations_come_first_and_the_choice_follows_the_store(store: DemonstrationStore) -> None:
    store.add(numbered(20))
    general = GeneralDemonstrations(store, 2)
    before = general.retrieve("a question")
    marked = Demonstration("Hello", "Good day.", "What?", {GENERAL: True})
    store.add([marked])
    after = general.retrieve("a question")
    assert [item.demonstration for item in after] == [marked, before[0].demonstration]
    store.remove(marked.id)
    assert general.retrieve("a question") == before


def test_a_store_with_its_two_stages(store: DemonstrationStore) -> None:
    near = Demonstration("How is glass made?", "By melting sand.", "No idea.")
    store.add([near, Demonstration("Where do swans sleep?", "On water.", "No idea.")])
    stages = TwoStageRetriever(store)
    assert Threshold().applied(stages, store, 2, require_rejected=False) is stages
    retriever = Threshold(min_similarity=0.99).applied(stages, store, 2, require_rejected=False)
    (found,) = retriever.retrieve("How is glass made?")
    assert found.demonstration == near
    assert not found.general
    assert [item.general for item in retriever.retrieve("Sum the numbers.")] == [True, True]
    none = Threshold(min_similarity=0.99, substitute="none")
    assert none.applied(stages, store, 2, require_rejected=False).retrieve("Sum the numbers.") == []
    assert (none.leaves_some, Threshold(substitute="none").leaves_some) == (False, True)
