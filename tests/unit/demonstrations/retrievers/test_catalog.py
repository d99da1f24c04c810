"""The retrievers by name, against rankings made by hand."""

from __future__ import annotations

import math
from collections import Counter
from typing import get_args

import numpy as np
import pytest

from icdpo_chains import Demonstration, DemonstrationStore, FakeEmbedder
from icdpo_chains.demonstrations.bm25_index import tokenize
from icdpo_chains.demonstrations.retrievers.bm25 import BM25Retriever
from icdpo_chains.demonstrations.retrievers.catalog import RETRIEVERS, RetrieverName

PROMPTS = [
    "how do I bake bread with rye flour",
    "how do I bake a cake with cherries",
    "why does bread go stale in the fridge",
    "the capital of Australia",
    "rye bread or wheat bread, which is better for me",
    "how do I train a young dog",
]
ROWS = [
    Demonstration(prompt, f"good {i}", f"bad {i}" if i != 4 else None) for i, prompt in enumerate(PROMPTS)
]
QUESTION = "which flour is best for rye bread"


def filled(store: DemonstrationStore) -> DemonstrationStore:
    store.add(ROWS)
    return store


def bm25(query: str, rows: list[Demonstration]) -> dict[str, float]:
    """Lucene's formula, term by term."""
    texts = [tokenize(row.prompt_text) for row in rows]
    mean = sum(map(len, texts)) / len(texts)
    scores = dict.fromkeys((row.id for row in rows), 0.0)
    for term in tokenize(query):
        holding = sum(term in text for text in texts)
        for row, text in zip(rows, texts, strict=True):
            count = Counter(text)[term]
            idf = math.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
            scores[row.id] += idf * count / (count + 1.5 * (0.25 + 0.75 * len(text) / mean))
    return scores


def test_bm25_alone_is_in_the_order_of_bm25(store: DemonstrationStore) -> None:
    found = RETRIEVERS["bm25"](filled(store), 3).retrieve(QUESTION)
    scores = bm25(QUESTION, ROWS)
    assert [item.demonstration.id for item in found] == sorted(scores, key=lambda id_: -scores[id_])[:3]
    assert [item.bm25_score for item in found] == sorted(
        (item.bm25_score or 0 for item in found), reverse=True
    )


def test_bm25_fills_up_where_no_word_is_shared(store: DemonstrationStore) -> None:
    found = BM25Retriever(filled(store)).retrieve("Australia", 3)
    assert found[0].demonstration.prompt == "the capital of Australia"
    assert [item.bm25_score is None for item in found] == [False, True, True]


def test_embeddings_alone_are_in_the_order_of_similarity(store: DemonstrationStore) -> None:
    excluded = {ROWS[0].id, "unknown"}
    found = RETRIEVERS["embeddings"](filled(store), 2).retrieve(QUESTION, 4, exclude=excluded)
    vectors = FakeEmbedder().embed([QUESTION, *PROMPTS])
    similarity = dict(zip((row.id for row in ROWS), vectors[1:] @ vectors[0], strict=True))
    expected = sorted(similarity.keys() - excluded, key=lambda id_: -similarity[id_])[:4]
    np.testing.assert_allclose(
        [item.similarity for item in found], [similarity[id_] for id_ in expected], atol=1e-5
    )
    assert len({item.demonstration.id for item in found} - excluded) == 4
    assert all(item.bm25_score is None for item in found)


def test_fixed_is_the_same_for_each_question_and_drawn_by_the_seed(store: DemonstrationStore) -> None:
    filled(store)
    ids = [
        [item.demonstration.id for item in RETRIEVERS["fixed"](store, 3, seed=1).retrieve(text)]
        for text in PROMPTS
    ]
    assert all(found == ids[0] for found in ids)
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as other:
        other.add(ROWS[::-1])
        assert [item.demonstration.id for item in RETRIEVERS["fixed"](other, 3, seed=1).retrieve("x")] == ids[
            0
        ]
    draws = {
        tuple(item.demonstration.id for item in RETRIEVERS["fixed"](store, 3, seed=seed).retrieve("x"))
        for seed in range(8)
    }
    assert len(draws) > 3


@pytest.mark.parametrize("name", get_args(RetrieverName))
def test_each_has_a_name_leaves_out_what_is_excluded_and_can_demand_rejected_answers(
    store: DemonstrationStore, name: RetrieverName
) -> None:
    filled(store)
    retriever = RETRIEVERS[name](store, 2, pool=4, require_rejected=True, seed=3)
    assert len(retriever.retrieve(QUESTION)) == 2
    found = [item.demonstration for item in retriever.retrieve(QUESTION, 10, exclude={ROWS[0].id})]
    assert {item.id for item in found} == {row.id for row in ROWS if row.rejected} - {ROWS[0].id}
    with pytest.raises(ValueError, match="k is 0"):
        RETRIEVERS[name](store, 0)


def test_the_names_are_all_there_are() -> None:
    assert tuple(RETRIEVERS) == get_args(RetrieverName)


@pytest.mark.parametrize("name", ["two_stage", "bm25", "embeddings"])
def test_a_retriever_names_its_store(name: RetrieverName) -> None:
    """`icdpo mcp` searches there and adds to it, whichever of them was chosen."""
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        assert RETRIEVERS[name](filled(store), 2, pool=5, require_rejected=False).store is store
