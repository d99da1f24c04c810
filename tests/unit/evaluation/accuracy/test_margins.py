"""Pairs are scored as ICDPO itself would score them, and never with a near-duplicate in view."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pytest

from icdpo_chains import ICDPO, Demonstration, DemonstrationStore, FakeEmbedder, FakePolicy
from icdpo_chains.demonstrations.retrievers.catalog import RETRIEVERS
from icdpo_chains.errors import ContextOverflowError, NoDemonstrationsError
from icdpo_chains.evaluation.accuracy.margins import PairScorer, right
from icdpo_chains.evaluation.accuracy.measures import SCORERS, Setting, settings_of
from icdpo_chains.policies.policy import ScoreRequest

ROWS = [
    Demonstration("My cat is ill, what now?", "I am sorry. Shall we talk about her?", "Whatever."),
    Demonstration(
        "I failed my exam.", "I am sorry to hear that. Shall we talk?", "Your own fault, deal with it."
    ),
    Demonstration(
        "Where are my keys?", "I would be glad to help you look.", "Look for them yourself, whatever."
    ),
    Demonstration("my CAT is ill -- what now", "I am sorry, poor cat.", "Your own fault."),
    Demonstration(
        "How is glass made?", "By melting sand, I would be glad to say.", "Whatever, deal with it."
    ),
]
DUPLICATES = {ROWS[0].id, ROWS[3].id}


class Recorder(FakePolicy):
    """Remembers the contexts that it has read."""

    def __init__(self, max_context: int | None = None) -> None:
        super().__init__(max_context=max_context)
        self.contexts: list[str] = []

    def logprobs(self, context: Sequence[int], continuations: Sequence[Sequence[int]]) -> list[list[float]]:
        self.contexts.append(self.tokenizer.decode(context))
        return super().logprobs(context, continuations)


class Together(FakePolicy):
    """Scores several contexts together, and remembers their numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def logprobs_batch(self, requests: Sequence[ScoreRequest]) -> list[list[list[float]]]:
        self.batches.append(len(requests))
        return [self.logprobs(one.context, one.continuations) for one in requests]


@pytest.fixture
def store() -> Iterator[DemonstrationStore]:
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        store.add(ROWS)
        yield store


def test_every_setting_gives_what_icdpo_would(store: DemonstrationStore) -> None:
    settings = settings_of(RETRIEVERS, [1, 2], yardsticks=False)
    assert len(settings) == 4 * 5 * 2
    found = PairScorer(FakePolicy(), ROWS, store, RETRIEVERS, seed=4).score(ROWS[0], settings)
    for setting in settings:
        assert setting.retriever is not None
        retriever = RETRIEVERS[setting.retriever](store, 2, require_rejected=True, seed=4)
        icdpo = ICDPO(FakePolicy(), retriever, SCORERS[setting.measure], k=setting.k)
        result = icdpo.score(ROWS[0].messages, [ROWS[0].chosen, ROWS[0].rejected or ""], exclude=DUPLICATES)
        score = {candidate.index: candidate.score for candidate in result.candidates}
        assert found.margins[setting] == pytest.approx(score[0] - score[1], abs=1e-5), setting
        assert found.shown[setting] == setting.k
    assert found.gap == len(ROWS[0].chosen) - len(ROWS[0].rejected or "")


def test_the_yardsticks(store: DemonstrationStore) -> None:
    policy = FakePolicy()
    settings = settings_of(["bm25"], [1])
    found = PairScorer(policy, ROWS, store, ["bm25"]).score(ROWS[1], settings)
    base = policy.tokenizer.apply_chat_template(
        [{"role": "user", "content": ROWS[1].prompt}], add_generation_prompt=True, return_dict=False
    )
    answers = [
        [*policy.tokenizer(text, add_special_tokens=False).input_ids, policy.tokenizer.eos_token_id]
        for text in (ROWS[1].chosen, ROWS[1].rejected)
    ]
    better, worse = policy.logprobs(base, answers)
    assert found.margins[Setting("policy_sum")] == pytest.approx(sum(better) - sum(worse))
    assert found.margins[Setting("policy_mean")] == pytest.approx(
        sum(better) / len(better) - sum(worse) / len(worse)
    )
    assert found.margins[Setting("length")] == len(answers[0]) - len(answers[1]) == found.gap
    # S is the log-probability with demonstrations less that without.
    difference = found.margins[Setting("shown_sum", "bm25", 1)] - found.margins[Setting("policy_sum")]
    assert found.margins[Setting("base_sum", "bm25", 1)] == pytest.approx(difference)


def test_a_near_duplicate_is_never_in_view(store: DemonstrationStore) -> None:
    policy = Recorder()
    scorer = PairScorer(policy, ROWS, store, RETRIEVERS)
    scorer.score(ROWS[0], settings_of(RETRIEVERS, [1, 4]))
    assert policy.contexts
    for context in policy.contexts:
        assert "poor cat" not in context
        assert "Shall we talk about her" not in context
    policy.contexts.clear()
    scorer.score(ROWS[1], settings_of(["random"], [4]))
    assert any("poor cat" in context for context in policy.contexts)  # there, it may be shown


def test_pairs_that_are_scored_together_equal_single_pairs(store: DemonstrationStore) -> None:
    policy = Together()
    settings = settings_of(["bm25"], [1, 2])
    scorer = PairScorer(policy, ROWS, store, ["bm25"])
    together = list(scorer.score_each(ROWS, settings))
    assert len(policy.batches) == 2  # four pairs, and the last one
    assert together == [scorer.score(row, settings) for row in ROWS]
    assert list(scorer.score_each([], settings)) == []


def test_no_context_is_read_twice(store: DemonstrationStore) -> None:
    policy = Recorder()
    PairScorer(policy, ROWS, store, RETRIEVERS).score(ROWS[1], settings_of(RETRIEVERS, [1, 2, 4]))
    assert len(policy.contexts) == len(set(policy.contexts))
    policy.contexts.clear()
    PairScorer(policy, ROWS, store, ["bm25"]).score(
        ROWS[1], [Setting("rejected_mean", "bm25", 2), Setting("length")]
    )
    assert len(policy.contexts) == 2  # the bare conversation is not needed


def test_what_does_not_fit_is_skipped_before_anything_is_read(store: DemonstrationStore) -> None:
    policy = Recorder()
    scorer = PairScorer(policy, ROWS, store, ["bm25"], max_context=150)
    settings = settings_of(["bm25"], [2])
    with pytest.raises(ContextOverflowError):
        scorer.score(ROWS[0], settings)
    assert policy.contexts == []
    assert list(scorer.score_each(ROWS, settings)) == [None] * 5
    (roomy,) = PairScorer(policy, ROWS, store, ["bm25"], max_context=340).score_each(ROWS[:1], settings)
    assert roomy is not None
    assert set(roomy.shown.values()) == {1}  # of two: the other one was dropped
    tight = PairScorer(Recorder(max_context=20), ROWS, store, ["bm25"])
    with pytest.raises(ContextOverflowError, match="fills the 20 tokens"):
        tight.score(ROWS[0], settings)


def test_rows_that_are_all_alike(store: DemonstrationStore) -> None:
    alike = [ROWS[0], ROWS[3]]
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as other:
        other.add(alike)
        scorer = PairScorer(FakePolicy(), alike, other, ["two_stage"])
        with pytest.raises(NoDemonstrationsError, match="nearly the same"):
            scorer.score(alike[0], settings_of(["two_stage"], [2]))


class Broken(FakePolicy):
    """Gives no finite number for an answer that begins with a given byte."""

    def __init__(self, *bad: str) -> None:
        super().__init__()
        self.bad = {self.tokenizer(text, add_special_tokens=False).input_ids[0] for text in bad}

    def logprobs(self, context: Sequence[int], continuations: Sequence[Sequence[int]]) -> list[list[float]]:
        rows = super().logprobs(context, continuations)
        return [
            [math.nan] * len(row) if ids[0] in self.bad else row
            for ids, row in zip(continuations, rows, strict=True)
        ]


@pytest.mark.parametrize(("bad", "margin"), [("I", -math.inf), ("W", math.inf), ("IW", 0.0)])
def test_what_can_not_be_scored_never_wins(store: DemonstrationStore, bad: str, margin: float) -> None:
    scorer = PairScorer(Broken(*bad), ROWS, store, ["bm25"])
    found = scorer.score(ROWS[0], settings_of(["bm25"], [1])).margins
    assert {value for setting, value in found.items() if setting.measure != "length"} == {margin}


def test_settings_are_named_and_counted_once() -> None:
    settings = settings_of(["bm25", "bm25", "fixed"], [2, 2, 4])
    assert len(settings) == len(set(settings)) == 6 * 2 * 2 + 3
    assert Setting("rejected_mean", "bm25", 2).label == "S^ mean, bm25, k = 2"
    assert Setting("length").label == "length: longer is better"
    assert [right(margin) for margin in (2.0, -math.inf, 0.0, -0.0)] == [1, 0, 0.5, 0.5]
