"""`InstantScoreRerank`: the right scores on the right nodes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import ImageNode, NodeWithScore, QueryBundle, TextNode
from pydantic import ValidationError

from icdpo_chains import ICDPO
from icdpo_chains.errors import InvalidInputError
from llama_index_icdpo import InstantScoreRerank

from ..fake_core import KIND, RUDE
from .conftest import Events

QUERY = "I lost my keys."
TEXTS = [RUDE, KIND, "Maybe.", KIND]


def nodes() -> list[NodeWithScore]:
    return [
        NodeWithScore(node=TextNode(id_=str(i), text=text, metadata={"page": i}), score=1 - i / 10)
        for i, text in enumerate(TEXTS)
    ]


@pytest.fixture
def reranker(core: ICDPO) -> InstantScoreRerank:
    return InstantScoreRerank(icdpo=core, top_n=4)


async def test_scores_are_on_the_right_nodes(reranker: InstantScoreRerank, core: ICDPO) -> None:
    given = nodes()
    ranked = reranker.postprocess_nodes(given, query_str=QUERY)
    expected = core.score(QUERY, TEXTS).candidates
    assert [(item.node.node_id, item.score) for item in ranked] == [
        (str(candidate.index), candidate.score) for candidate in expected
    ]
    assert [item.node.node_id for item in ranked][:2] == ["1", "3"], "ties stay in order"
    assert all(item.node is given[int(item.node.node_id)].node for item in ranked)
    assert given == nodes(), "inputs are not modified"
    assert await reranker.apostprocess_nodes(given, query_bundle=QueryBundle(QUERY)) == ranked


def test_top_n_threshold_and_former_scores(core: ICDPO) -> None:
    assert len(InstantScoreRerank(icdpo=core, top_n=2).postprocess_nodes(nodes(), query_str=QUERY)) == 2
    above = InstantScoreRerank(icdpo=core, top_n=4, threshold=0.0).postprocess_nodes(nodes(), query_str=QUERY)
    assert [item.node.get_content() for item in above] == [KIND, KIND]
    given = nodes()
    kept = InstantScoreRerank(icdpo=core, keep_retrieval_score=True).postprocess_nodes(given, query_str=QUERY)
    assert [item.node.metadata["retrieval_score"] for item in kept] == [
        given[int(item.node.node_id)].score for item in kept
    ]
    assert given == nodes()


def test_a_node_without_text_comes_last(core: ICDPO) -> None:
    given = [NodeWithScore(node=ImageNode(id_="image")), *nodes()]
    ranked = InstantScoreRerank(icdpo=core, top_n=5).postprocess_nodes(given, query_str=QUERY)
    assert (ranked[-1].node.node_id, ranked[-1].score) == ("image", None)
    assert (
        len(InstantScoreRerank(icdpo=core, top_n=5, threshold=-999).postprocess_nodes(given, query_str=QUERY))
        == 4
    )


@pytest.mark.parametrize("query", [None, "", " \n"])
def test_without_a_query_there_is_nothing_to_score_for(
    reranker: InstantScoreRerank, query: str | None
) -> None:
    with pytest.raises(InvalidInputError, match="query is missing"):
        reranker.postprocess_nodes(nodes(), query_str=query)
    assert reranker.postprocess_nodes([], query_str=query) == []


def test_events_are_seen_once(reranker: InstantScoreRerank, events: Events) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    reranker.callback_manager = CallbackManager([debug])
    ranked = reranker.postprocess_nodes(nodes(), query_str=QUERY)
    assert events.count("ReRankStartEvent", "ReRankEndEvent") == {"ReRankStartEvent": 1, "ReRankEndEvent": 1}
    start, end = (event for event in events.seen if "ReRank" in event.class_name())
    assert (start.query, start.top_n, start.model_name) == (QUERY, 4, "fake")
    assert end.nodes == ranked
    assert [len(pair) for pair in debug.get_event_pairs(CBEventType.RERANKING)] == [2]


def test_class_and_settings(core: ICDPO) -> None:
    assert BaseNodePostprocessor in InstantScoreRerank.__mro__
    data = InstantScoreRerank(icdpo=core, top_n=2, threshold=0.5).to_dict()
    assert InstantScoreRerank.from_dict(json.loads(json.dumps(data))).to_dict() == data


@pytest.mark.parametrize("settings", [{"top_n": 0}, {"k": 0}, {"unknown": 1}], ids=str)
def test_wrong_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        InstantScoreRerank(**settings)
