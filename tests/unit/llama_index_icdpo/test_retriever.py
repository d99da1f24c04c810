"""`DemonstrationRetriever` used as LlamaIndex uses a retriever."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import QueryBundle

from icdpo_chains import DemonstrationStore, FixedDemonstrations, TwoStageRetriever
from icdpo_chains.errors import InvalidInputError
from llama_index_icdpo import DemonstrationRetriever

from ..fake_core import DEMONSTRATIONS
from .conftest import Events


async def test_nodes_are_what_the_core_finds_with_both_scores(
    store: DemonstrationStore, events: Events
) -> None:
    core = TwoStageRetriever(store, k=3)
    retriever = DemonstrationRetriever(core)
    nodes = retriever.retrieve("I lost my keys.")
    found = core.retrieve("I lost my keys.")
    assert [item.node.node_id for item in nodes] == [item.demonstration.id for item in found]
    assert [item.score for item in nodes] == [item.similarity for item in found]
    assert [item.node.metadata["bm25_score"] for item in nodes] == [item.bm25_score for item in found]
    assert await retriever.aretrieve(QueryBundle("I lost my keys.")) == nodes
    assert events.count("RetrievalStartEvent", "RetrievalEndEvent") == {
        "RetrievalStartEvent": 2,
        "RetrievalEndEvent": 2,
    }
    assert BaseRetriever in DemonstrationRetriever.__mro__


def test_a_store_is_enough(store: DemonstrationStore) -> None:
    nodes = DemonstrationRetriever(store=store, k=1).retrieve("my keys")
    assert [item.node.get_content() for item in nodes] == ["Where are my keys?"]


async def test_the_event_loop_keeps_ticking() -> None:
    class Slow(FixedDemonstrations):
        def retrieve(self, *args: Any, **options: Any) -> Any:
            time.sleep(0.3)
            return super().retrieve(*args, **options)

    retrieving = asyncio.create_task(DemonstrationRetriever(Slow(DEMONSTRATIONS)).aretrieve("?"))
    ticks = 0
    while not retrieving.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert ticks > 5
    assert len(await retrieving) == 3


def test_wrong_settings_and_queries() -> None:
    fixed = FixedDemonstrations(DEMONSTRATIONS)
    with pytest.raises(ValueError, match="k is 0"):
        DemonstrationRetriever(fixed, k=0)
    with pytest.raises(ValueError, match="leave one of them out"):
        DemonstrationRetriever(fixed, store="x")
    with pytest.raises(TypeError, match="no method `retrieve`"):
        DemonstrationRetriever(object())  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="blank"):
        DemonstrationRetriever(fixed).retrieve(" ")
