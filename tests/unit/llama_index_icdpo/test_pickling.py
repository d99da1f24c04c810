"""Components are pickled with all their fields, or refused; the original is not harmed."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from icdpo_chains import ICDPO, FakeEmbedder
from llama_index_icdpo import (
    ICDPOLLM,
    DemonstrationRetriever,
    ICDPOEmbedding,
    ICDPOSynthesizer,
    InstantScoreRerank,
)
from tests.unit.fake_core import make_core

NODES = [NodeWithScore(node=TextNode(text=text, id_=text)) for text in ("one", "two")]


def ranked(reranker: Any) -> list[str]:
    return [found.node.node_id for found in reranker.postprocess_nodes(NODES, QueryBundle("Hi"))]


LIVE: dict[str, tuple[Callable[[ICDPO], Any], Callable[[Any], Any]]] = {
    "ICDPOLLM": (lambda core: ICDPOLLM(icdpo=core), lambda llm: llm.complete("Hi").text),
    "InstantScoreRerank": (lambda core: InstantScoreRerank(icdpo=core), ranked),
    "ICDPOSynthesizer": (
        lambda core: ICDPOSynthesizer(llm=ICDPOLLM(icdpo=core)),
        lambda synthesizer: str(synthesizer.synthesize("Hi", NODES)),
    ),
    "DemonstrationRetriever": (
        lambda core: DemonstrationRetriever(retriever=core.retriever),
        lambda retriever: [found.node.node_id for found in retriever.retrieve("Hi")],
    ),
}


@pytest.mark.parametrize("name", LIVE)
def test_what_holds_a_model_is_not_pickled_and_stays_as_it_is(name: str) -> None:
    make, use = LIVE[name]
    component = make(make_core())
    expected = use(component)
    with pytest.raises(TypeError, match=r"belongs to one process and can't be pickled: pickle settings"):
        pickle.dumps(component)
    assert use(component) == expected


@pytest.mark.parametrize("name", ["ICDPOLLM", "InstantScoreRerank", "DemonstrationRetriever"])
def test_copies_share_the_model(name: str) -> None:
    make, use = LIVE[name]
    component = make(make_core())
    for copied in (copy.copy(component), copy.deepcopy(component)):
        assert use(copied) == use(component)


def test_settings_travel_and_the_model_does_not() -> None:
    llm = ICDPOLLM(model="some/model", store="there", n=3, temperature=0.5, stop=["a"], system_prompt="S")
    llm._built = make_core()
    copied = pickle.loads(pickle.dumps(llm))
    assert copied.to_dict() == llm.to_dict()
    assert (copied.n, copied.model, copied.store, copied.system_prompt) == (3, "some/model", "there", "S")
    assert copied._built is None
    assert llm.complete("Hi").text
    reranker = pickle.loads(pickle.dumps(InstantScoreRerank(top_n=2, k=1, threshold=0.5)))
    assert (reranker.top_n, reranker.k, reranker.threshold) == (2, 1, 0.5)


def test_an_embedding_model_travels() -> None:
    default = pickle.loads(pickle.dumps(ICDPOEmbedding()))
    assert default.model_name == ICDPOEmbedding().model_name
    fake = ICDPOEmbedding(FakeEmbedder())
    assert pickle.loads(pickle.dumps(fake)).get_text_embedding("Hi") == fake.get_text_embedding("Hi")
