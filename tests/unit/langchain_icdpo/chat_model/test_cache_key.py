"""What an answer depends on is in the key under which LangChain caches it."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache

from icdpo_chains import (
    ICDPO,
    Demonstration,
    DemonstrationStore,
    FixedDemonstrations,
    InstantScorer,
    Instructions,
    PlainFormat,
    RandomRetriever,
    SamplingParams,
    TwoStageRetriever,
)
from langchain_icdpo import ChatICDPO
from langchain_icdpo.chat_model.cache_key import cache_key

from ...fake_core import DEMONSTRATIONS, make_core


def test_the_same_question_is_answered_from_the_cache() -> None:
    set_llm_cache(InMemoryCache())
    chat = ChatICDPO(icdpo=make_core(()))
    first = chat.invoke("One?")
    again = chat.invoke("One?")
    assert again.content == first.content, "without a seed, another sample would differ"
    assert again.response_metadata["icdpo"]["seed"] == first.response_metadata["icdpo"]["seed"]
    assert chat.invoke("Two?").response_metadata["icdpo"]["seed"] != again.response_metadata["icdpo"]["seed"]


@pytest.mark.parametrize(
    "settings",
    [
        {"n": 3},
        {"k": 1},
        {"seed": 1},
        {"temperature": 0.3},
        {"top_p": 0.5},
        {"max_tokens": 9},
        {"stop": ["never said"]},
    ],
    ids=str,
)
def test_every_setting_counts(settings: dict[str, Any]) -> None:
    core = make_core(())
    cache = InMemoryCache()
    plain, other = ChatICDPO(icdpo=core, cache=cache), ChatICDPO(icdpo=core, cache=cache, **settings)
    seed = plain.invoke("One?").response_metadata["icdpo"]["seed"]
    assert other.invoke("One?").response_metadata["icdpo"]["seed"] != seed
    assert plain.invoke("One?", **settings).response_metadata["icdpo"]["seed"] != seed
    assert plain.invoke("One?").response_metadata["icdpo"]["seed"] == seed


def test_what_the_core_is_made_of_counts(store: DemonstrationStore) -> None:
    base = make_core()
    parts: dict[str, ICDPO] = {
        "base": base,
        "demonstrations": make_core(retriever=FixedDemonstrations(DEMONSTRATIONS[1:], k=2)),
        "their number": make_core(retriever=FixedDemonstrations(DEMONSTRATIONS, k=1)),
        "a store": make_core(retriever=TwoStageRetriever(store)),
        "its pool": make_core(retriever=TwoStageRetriever(store, pool=3)),
        "chance": make_core(retriever=RandomRetriever(DEMONSTRATIONS)),
        "its seed": make_core(retriever=RandomRetriever(DEMONSTRATIONS, seed=1)),
        "scorer": ICDPO(base.policy, base.retriever, InstantScorer("base")),
        "sampling": ICDPO(base.policy, base.retriever, sampling=SamplingParams(top_p=0.5)),
        "instructions": ICDPO(base.policy, base.retriever, instructions=Instructions("Be nice.")),
        "format": ICDPO(base.policy, base.retriever, format=PlainFormat(base.policy.tokenizer)),
        "context": ICDPO(base.policy, base.retriever, max_context=500),
    }
    keys = {name: cache_key(core) for name, core in parts.items()}
    assert len(set(keys.values())) == len(parts)
    assert cache_key(base) == keys["base"]


def test_a_store_that_changes_gives_another_key(store: DemonstrationStore) -> None:
    core = make_core(retriever=TwoStageRetriever(store))
    before = cache_key(core)
    core.generate("One?")  # builds an index, which is no change
    assert cache_key(core) == before
    with store.writable() as opened:
        opened.add([Demonstration("New?", "Yes.", "No.")])
    assert cache_key(core) != before


def test_a_retriever_of_ones_own_is_itself_alone() -> None:
    class Mine:
        def __init__(self, fingerprint: str | None = None) -> None:
            if fingerprint:
                self.fingerprint = fingerprint

        def retrieve(self, prompt: Any, k: int | None = None, *, exclude: Any = ()) -> list[Any]:
            return []

    one, other = Mine(), Mine()
    policy = make_core().policy
    key = cache_key(ICDPO(policy, one))
    assert cache_key(ICDPO(policy, one)) == key
    assert cache_key(ICDPO(policy, other)) != key
    assert cache_key(ICDPO(policy, Mine("a"))) == cache_key(ICDPO(policy, Mine("a")))
    assert cache_key(ICDPO(policy, Mine("a"))) != cache_key(ICDPO(policy, Mine("b")))
