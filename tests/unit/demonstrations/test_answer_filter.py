"""Which demonstrations are found by their answers."""

from __future__ import annotations

from typing import get_args

import pytest

from icdpo_chains.demonstrations.answer_filter import AnswerFilter, holds_unpaired
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.retrievers.catalog import RETRIEVERS, RetrieverName
from icdpo_chains.demonstrations.retrievers.random import RandomRetriever
from icdpo_chains.demonstrations.retrievers.threshold import GeneralDemonstrations
from icdpo_chains.demonstrations.store import DemonstrationStore

PAIR = Demonstration("How long do I boil an egg?", "Seven minutes.", "Who cares.", {"topic": "egg"})
UP = Demonstration("How do I poach an egg?", "In water with vinegar.", None, {"topic": "egg"})
DOWN = Demonstration("How do I fry an egg?", None, "Look it up.", {"topic": "egg"})


@pytest.mark.parametrize(
    ("needs", "found"),
    [
        ({}, {PAIR, UP}),
        ({"require_chosen": False}, {PAIR, UP, DOWN}),
        ({"require_rejected": True}, {PAIR}),
        ({"require_chosen": False, "require_rejected": True}, {PAIR, DOWN}),
    ],
)
def test_each_retriever_finds_what_has_the_answers(
    store: DemonstrationStore, needs: dict[str, bool], found: set[Demonstration]
) -> None:
    store.add([PAIR, UP, DOWN])
    for name in get_args(RetrieverName):
        retriever = RETRIEVERS[name](store, 5, **needs)
        assert {item.demonstration for item in retriever.retrieve("egg")} == found, name
    general = GeneralDemonstrations(store, 5, **needs)
    assert {item.demonstration for item in general.retrieve("egg")} == found
    narrow = AnswerFilter(store, where={"topic": "egg"}, **needs)
    assert set(store.list(where=narrow.where())) == found
    assert store.list(where=AnswerFilter(store, where={"topic": "tea"}, **needs).where()) == []


def test_a_draw_from_a_store_shows_no_lone_rejected_answer(store: DemonstrationStore) -> None:
    store.add([PAIR, UP, DOWN])
    assert {item.demonstration for item in RandomRetriever(store, 5).retrieve("egg")} == {PAIR, UP}


def test_it_follows_the_store(store: DemonstrationStore) -> None:
    needs = AnswerFilter(store)
    store.add([PAIR])
    # No condition, which would make each search slower.
    assert (needs.where(), holds_unpaired(store)) == (None, False)
    store.add([DOWN])
    assert needs.where() is not None
    assert holds_unpaired(store)
    store.remove(DOWN.id)
    assert (needs.where(), holds_unpaired(store)) == (None, False)
    store.add([UP])
    assert (needs.where(), holds_unpaired(store)) == (None, True)
