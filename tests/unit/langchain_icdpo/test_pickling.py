"""Components are pickled with their settings, or refused; copies share models; the original is not harmed."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document

from icdpo_chains import ICDPO, DemonstrationStore, FakeEmbedder, FixedDemonstrations
from langchain_icdpo import (
    ChatICDPO,
    DemonstrationRetriever,
    DemonstrationSelector,
    ICDPOMiddleware,
    InstantReranker,
    InstantScoreCompressor,
)
from tests.unit.fake_core import DEMONSTRATIONS, make_core

LIVE: dict[str, tuple[Callable[[ICDPO], Any], Callable[[Any], Any]]] = {
    "ChatICDPO": (lambda core: ChatICDPO(icdpo=core), lambda chat: chat.invoke("Hi").text),
    "InstantReranker": (
        lambda core: InstantReranker(icdpo=core),
        lambda reranker: [found.text for found in reranker.invoke({"input": "Hi", "candidates": ["a", "b"]})],
    ),
    "InstantScoreCompressor": (
        lambda core: InstantScoreCompressor(icdpo=core),
        lambda compressor: [
            found.page_content
            for found in compressor.compress_documents([Document("a"), Document("b")], "Hi")
        ],
    ),
    "ICDPOMiddleware": (lambda core: ICDPOMiddleware(icdpo=core), lambda middleware: middleware.name),
}


@pytest.mark.parametrize("name", LIVE)
def test_what_holds_a_model_is_copied_and_not_pickled(name: str) -> None:
    make, use = LIVE[name]
    component = make(make_core())
    expected = use(component)
    with pytest.raises(TypeError, match=r"belongs to one process and can't be pickled: pickle settings"):
        pickle.dumps(component)
    assert use(component) == expected
    for copied in (copy.copy(component), copy.deepcopy(component)):
        assert use(copied) == expected
    assert use(component) == expected


def test_settings_travel_and_the_model_does_not() -> None:
    chat = ChatICDPO(model="some/model", store="there", n=3, temperature=0.5, stop=["a"])
    chat._built = make_core()
    for copied in (pickle.loads(pickle.dumps(chat)), pickle.loads(pickle.dumps(chat.bind(seed=1))).bound):
        assert copied.to_json() == chat.to_json()
        assert (copied.n, copied.model, copied.store) == (3, "some/model", "there")
        assert copied._built is None
    assert chat.invoke("Hi").text
    assert copy.deepcopy(chat).invoke("Hi").text == chat.invoke("Hi").text


def test_a_retriever_of_fixed_demonstrations_travels() -> None:
    retriever = DemonstrationRetriever(retriever=FixedDemonstrations(DEMONSTRATIONS))
    copied = pickle.loads(pickle.dumps(retriever))
    assert copied.invoke("Hi") == retriever.invoke("Hi")


def test_what_holds_a_store_is_copied_and_not_pickled() -> None:
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        store.add(DEMONSTRATIONS)
        selector, retriever = DemonstrationSelector(store), DemonstrationRetriever(store=store)
        for component in (selector, retriever, store):
            with pytest.raises(TypeError, match="belongs to one process"):
                pickle.dumps(component)
        expected = selector.select_examples({"input": "Hi"})
        assert copy.deepcopy(selector).select_examples({"input": "Hi"}) == expected
        assert copy.deepcopy(retriever).invoke("Hi") == retriever.invoke("Hi")
        assert copy.deepcopy(store) is store
        assert len(store) == len(DEMONSTRATIONS)
