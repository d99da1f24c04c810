"""Two-stage retrieval against a slow twin that does the same in plain Python, and the other retrievers."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from icdpo_chains.demonstrations.bm25_index import tokenize
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.demonstrations.retriever import RetrievedDemonstration, Retriever
from icdpo_chains.demonstrations.retrievers.fixed import FixedDemonstrations
from icdpo_chains.demonstrations.retrievers.random import RandomRetriever
from icdpo_chains.demonstrations.retrievers.two_stage import TwoStageRetriever
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.messages import Message

WORDS = [f"w{i}" for i in range(60)]


class UntiedEmbedder(FakeEmbedder):
    """The fake with a little of each text's own, so that no two texts are equally near to a third."""

    def embed(self, texts: Sequence[str]) -> Any:
        vectors = super().embed(texts)
        for vector, text in zip(vectors, texts, strict=True):
            own = np.random.default_rng(list(text.encode())).standard_normal(len(vector), np.float32)
            vector += 0.01 * own
            vector /= np.linalg.norm(vector)
        return vectors


def drawn_prompt(draw: random.Random) -> str:
    # Low numbers are frequent words, high ones are rare.
    return " ".join(WORDS[int(60 * draw.random() ** 3)] for _ in range(draw.randint(3, 40)))


def drawn_rows(count: int) -> list[Demonstration]:
    draw = random.Random(5)
    return [
        Demonstration(drawn_prompt(draw), f"good {i}", f"bad {i}" if i % 3 else None, {"topic": "ab"[i % 2]})
        for i in range(count)
    ]


def slow_retrieve(
    rows: Sequence[Demonstration], prompt: str, k: int, usable: Sequence[Demonstration], pool_size: int = 20
) -> list[tuple[str, float | None, float]]:
    """Ids with both scores: BM25 over all rows by the formula, the best usable ones, the nearest of these."""
    documents = {row.id: Counter(tokenize(row.prompt_text)) for row in rows}
    mean = sum(map(Counter.total, documents.values())) / len(documents)
    query = tokenize(prompt)[-30:]
    bm25 = dict.fromkeys(documents, 0.0)
    for id_, document in documents.items():
        for token in query:
            holding = sum(token in other for other in documents.values())
            rarity = math.log(1 + (len(rows) - holding + 0.5) / (holding + 0.5))
            length = 1 - 0.75 + 0.75 * document.total() / mean
            bm25[id_] += rarity * document[token] / (document[token] + 1.5 * length) if document[token] else 0
    # Compared as the index keeps them, in single precision.
    ranked = sorted((row.id for row in usable if bm25[row.id]), key=lambda id_: (-round(bm25[id_], 5), id_))
    pool = ranked[: max(pool_size, k)]
    vectors = dict(
        zip((row.id for row in rows), UntiedEmbedder().embed([row.prompt_text for row in rows]), strict=True)
    )
    vector = UntiedEmbedder().embed([prompt])[0]
    near = {id_: float(vectors[id_] @ vector) for id_ in vectors}

    def best(ids: list[str]) -> list[str]:
        return sorted(ids, key=lambda id_: (-near[id_], id_))

    found = best(pool)[:k]
    found += [id_ for id_ in best([row.id for row in usable]) if id_ not in found][: k - len(found)]
    return [(id_, bm25[id_] if id_ in pool else None, near[id_]) for id_ in found]


def check(found: list[RetrievedDemonstration], expected: list[tuple[str, float | None, float]]) -> None:
    assert [item.demonstration.id for item in found] == [id_ for id_, _, _ in expected]
    assert [item.similarity for item in found] == pytest.approx([near for _, _, near in expected], abs=1e-5)
    for item, (_, score, _) in zip(found, expected, strict=True):
        assert item.bm25_score == (None if score is None else pytest.approx(score, rel=1e-4))


@pytest.fixture
def store() -> Iterator[DemonstrationStore]:
    with DemonstrationStore.ephemeral(embedder=UntiedEmbedder()) as store:
        yield store


@pytest.fixture(scope="module")
def rows() -> list[Demonstration]:
    return drawn_rows(150)


@pytest.fixture(scope="module")
def filled(rows: list[Demonstration]) -> Iterator[DemonstrationStore]:
    with DemonstrationStore.ephemeral(embedder=UntiedEmbedder()) as store:
        store.add(rows)
        yield store


def test_a_system_message_does_not_change_what_is_found(
    filled: DemonstrationStore, rows: list[Demonstration]
) -> None:
    retriever = TwoStageRetriever(filled, k=5)
    question, others = Message("user", rows[3].prompt_text), Message("system", rows[9].prompt_text * 20)
    found = retriever.retrieve([others, question])
    assert found == retriever.retrieve([question])
    assert found == retriever.retrieve([question, others])


@pytest.mark.parametrize("k", [1, 3, 30])
def test_it_agrees_with_the_slow_twin(filled: DemonstrationStore, rows: list[Demonstration], k: int) -> None:
    draw = random.Random(k)
    retriever = TwoStageRetriever(filled, k=k)
    for _ in range(8):
        prompt = drawn_prompt(draw)
        check(retriever.retrieve(prompt), slow_retrieve(rows, prompt, k, rows))


def test_exclude_where_and_require_rejected_agree_with_it_too(
    filled: DemonstrationStore, rows: list[Demonstration]
) -> None:
    retriever = TwoStageRetriever(filled, k=3, pool=5, require_rejected=True, where={"topic": "a"})
    for row in rows[::20]:
        exclude = [row.id, "unknown"]
        usable = [r for r in rows if r.rejected and r.metadata["topic"] == "a" and r.id != row.id]
        expected = slow_retrieve(rows, row.prompt_text, 3, usable, pool_size=5)
        check(retriever.retrieve(row.prompt, exclude=exclude), expected)


def test_the_pool_is_what_stage_one_found_not_what_is_nearest(store: DemonstrationStore) -> None:
    rare = Demonstration("xylophone " + "a b c d e f g h", "good")
    near = Demonstration("a b", "good")
    store.add([rare, near, *(Demonstration(f"a b {i} {i}", "good") for i in range(10))])
    assert TwoStageRetriever(store, k=1, pool=1).retrieve("a b xylophone")[0].demonstration == rare
    assert TwoStageRetriever(store, k=1).retrieve("a b")[0].demonstration == near


def test_only_the_end_of_the_conversation_is_looked_for(store: DemonstrationStore) -> None:
    start, end = Demonstration("alpha", "good"), Demonstration("omega", "good")
    store.add([start, end])
    turns = [Message("user", "alpha " * 5), Message("assistant", "yes"), Message("user", "x omega")]
    found = TwoStageRetriever(store, k=2, query_tokens=2).retrieve(turns)
    scores = {item.demonstration: item.bm25_score for item in found}
    assert scores[start] is None
    assert scores[end] is not None


def test_k_larger_than_the_store_gives_all_of_it(
    filled: DemonstrationStore, rows: list[Demonstration]
) -> None:
    found = TwoStageRetriever(filled).retrieve("w1 w59", k=10_000)
    assert {item.demonstration.id for item in found} == {row.id for row in rows}
    assert len(found) == len(rows)


def test_an_empty_store_gives_nothing_until_it_is_filled(store: DemonstrationStore) -> None:
    retriever = TwoStageRetriever(store)
    assert retriever.retrieve("anything") == []
    store.add([Demonstration("something", "good")])
    assert len(retriever.retrieve("anything")) == 1


@pytest.mark.parametrize("prompt", ["unheard words", "?!", "\0", "{x}"])
def test_without_a_known_token_embeddings_alone_decide(
    filled: DemonstrationStore, rows: Any, prompt: str
) -> None:
    found = TwoStageRetriever(filled, k=3).retrieve(prompt)
    check(found, slow_retrieve(rows, prompt, 3, rows))
    assert [item.bm25_score for item in found] == [None] * 3


def test_its_own_demonstration_is_never_returned_where_it_is_excluded(
    filled: DemonstrationStore, rows: list[Demonstration]
) -> None:
    retriever = TwoStageRetriever(filled, k=2)
    own = rows[0]
    assert retriever.retrieve(own.prompt)[0].demonstration == own
    for exclude in ([own.id], (own.id,), {own.id}, own.id):
        found = retriever.retrieve(own.prompt, exclude=exclude)
        assert len(found) == 2
        assert own not in [item.demonstration for item in found]
    others = {row.id for row in rows[1:]}
    assert [item.demonstration for item in retriever.retrieve(own.prompt, exclude=others)] == [own]
    assert retriever.retrieve(own.prompt, exclude={own.id, *others}) == []


def test_ties_stand_in_the_order_of_the_ids_whatever_the_order_of_insertion() -> None:
    rows = [Demonstration("the same words", f"good {i}") for i in range(30)]
    for order in (rows, rows[::-1]):
        with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
            store.add(order)
            found = TwoStageRetriever(store, k=25).retrieve("the same words")
            assert [item.demonstration.id for item in found] == sorted(row.id for row in rows)[:25]


def test_the_index_follows_what_is_added_removed_and_changed(store: DemonstrationStore) -> None:
    retriever = TwoStageRetriever(store, k=1, where={"topic": "locks"})
    lock = Demonstration("how to pick a lock", "good", metadata={"topic": "locks"})
    store.add([lock, Demonstration("a birthday", "good")])
    assert [item.demonstration for item in retriever.retrieve("pick a lock")] == [lock]
    better = Demonstration("pick a lock", "good", metadata={"topic": "locks"})
    store.add([better])
    assert [item.demonstration for item in retriever.retrieve("pick a lock")] == [better]
    store.remove(better.id)
    assert [item.demonstration for item in retriever.retrieve("pick a lock")] == [lock]
    store.add([Demonstration(lock.prompt, lock.chosen, metadata={"topic": "other"})])
    assert retriever.retrieve("pick a lock") == []


def test_the_index_is_built_once_while_nothing_changes(
    store: DemonstrationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add(drawn_rows(5))
    retriever = TwoStageRetriever(store)
    retriever.retrieve("w1")
    monkeypatch.setattr(DemonstrationStore, "prompts", None)
    assert len(retriever.retrieve("w2")) == 2


def test_threads_retrieve_while_others_add_and_remove(store: DemonstrationStore) -> None:
    rows = drawn_rows(120)
    store.add(rows[:60])
    retriever = TwoStageRetriever(store, k=3)

    def retrieving(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(15):
            found = retriever.retrieve(drawn_prompt(draw))
            assert len({item.demonstration.id for item in found}) == len(found) <= 3
            assert all(item.demonstration in rows for item in found)

    def changing() -> None:
        for row, old in zip(rows[60:], rows[:60], strict=True):
            store.add([row])
            store.remove(old.id)

    with ThreadPoolExecutor(3) as threads:
        for result in [threads.submit(changing), *(threads.submit(retrieving, i) for i in range(2))]:
            result.result()
    prompt = drawn_prompt(random.Random(9))
    check(retriever.retrieve(prompt), slow_retrieve(rows[60:], prompt, 3, rows[60:]))


def every_kind(store: DemonstrationStore) -> list[Retriever]:
    return [TwoStageRetriever(store), RandomRetriever(store), FixedDemonstrations(list(store))]


@pytest.mark.parametrize(
    ("k", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (10**9, ValueError),
        (True, TypeError),
        (2.0, TypeError),
        ("2", TypeError),
    ],
)
def test_a_k_that_is_no_number_of_demonstrations(
    filled: DemonstrationStore, k: Any, error: type[Exception]
) -> None:
    for retriever in every_kind(filled):
        with pytest.raises(error, match=r"k (is|must)"):
            retriever.retrieve("question", k)
    for kind in (TwoStageRetriever, RandomRetriever, FixedDemonstrations):
        with pytest.raises(error, match=r"k (is|must)"):
            kind(filled, k)  # type: ignore[arg-type]
    for name in ("pool", "query_tokens"):
        with pytest.raises(error, match=rf"{name} (is|must)"):
            TwoStageRetriever(filled, **{name: k})


@pytest.mark.parametrize(
    "prompt", ["", " \n", "\ud800", [], [Message("user", "a"), Message("assistant", "b")]]
)
def test_a_prompt_that_asks_nothing(filled: DemonstrationStore, prompt: Any) -> None:
    for retriever in every_kind(filled):
        with pytest.raises(InvalidInputError):
            retriever.retrieve(prompt)


def test_a_megabyte_of_one_character_is_a_prompt(filled: DemonstrationStore) -> None:
    assert len(TwoStageRetriever(filled, k=2).retrieve("x" * 1_000_000)) == 2


def test_random_draws_depend_on_seed_and_prompt_alone(
    rows: list[Demonstration], filled: DemonstrationStore
) -> None:
    first = RandomRetriever(rows, k=5, seed=1).retrieve("question")
    assert len({item.demonstration.id for item in first}) == 5
    assert first[0].bm25_score is first[0].similarity is None
    assert RandomRetriever(rows[::-1], k=5, seed=1).retrieve("question") == first
    assert RandomRetriever(filled, k=5, seed=1).retrieve([Message("user", "question")]) == first
    assert RandomRetriever(rows, k=5, seed=2).retrieve("question") != first
    assert RandomRetriever(rows, k=5, seed=1).retrieve("another") != first


def test_random_draws_reach_everything_and_leave_out_what_is_excluded(filled: DemonstrationStore) -> None:
    rows = list(filled)[:4]
    for source in (rows, filled):
        retriever = RandomRetriever(source)
        allowed = {row.id for row in rows[1:]}
        exclude = {row.id for row in filled} - allowed
        seen = {
            item.demonstration.id for i in range(40) for item in retriever.retrieve(f"q{i}", exclude=exclude)
        }
        assert seen == allowed
        assert len(retriever.retrieve("q", k=100, exclude=exclude)) == 3
    assert RandomRetriever([]).retrieve("q") == []
    assert RandomRetriever(rows[:1]).retrieve("q", exclude=rows[0].id) == []


def test_fixed_ones_are_given_as_they_are(rows: list[Demonstration]) -> None:
    given = list(rows[:4])
    retriever = FixedDemonstrations(given)
    given.clear()
    assert [item.demonstration for item in retriever.retrieve("q")] == rows[:4]
    assert [item.demonstration for item in retriever.retrieve("q", k=2)] == rows[:2]
    assert [item.demonstration for item in FixedDemonstrations(rows[:4], k=3).retrieve("q")] == rows[:3]
    assert [item.demonstration for item in retriever.retrieve("q", k=2, exclude=rows[0].id)] == rows[1:3]
    assert FixedDemonstrations([]).retrieve("q") == []


def test_similarity_is_the_cosine_also_if_an_embedder_forgets_the_length() -> None:
    class Long(FakeEmbedder):
        def embed(self, texts: Sequence[str]) -> Any:
            return 3 * super().embed(texts)

    with DemonstrationStore.ephemeral(embedder=Long()) as longer:
        longer.add([Demonstration("how to pick a lock", "good")])
        near = TwoStageRetriever(longer).retrieve("pick the lock")[0].similarity
    one, other = FakeEmbedder().embed(["how to pick a lock", "pick the lock"])
    assert near == pytest.approx(float(np.dot(one, other)), abs=1e-5)
