"""The smallest n that is as good as the best, from candidates that are sampled once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from icdpo_chains import ICDPO, Demonstration, FakePolicy, FixedDemonstrations, SamplingParams
from icdpo_chains.errors import PolicyError
from icdpo_chains.evaluation.tuning.candidate_count import FEWEST_PROMPTS, search_n
from icdpo_chains.messages import Conversation

SHOWN = [Demonstration("My cat is ill.", "I am sorry. Shall we talk?", "Whatever.")]
ROWS = [Demonstration(f"question {i}", "a", "b") for i in range(12)]


class Judge:
    """Gives each answer what a function says."""

    name = "judge"

    def __init__(self, judge: Any) -> None:
        self.judge = judge
        self.texts: list[str] = []

    def rewards(self, conversations: Sequence[Conversation], responses: Sequence[str]) -> list[float]:
        self.texts += responses
        return [float(self.judge(text)) for text in responses]


class Counting(FakePolicy):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def sample_batch(self, requests: Any) -> Any:
        self.asked += [request.n for request in requests]
        return super().sample_batch(requests)


def made(policy: FakePolicy | None = None) -> ICDPO:
    return ICDPO(
        policy or FakePolicy(), FixedDemonstrations(SHOWN), sampling=SamplingParams(max_new_tokens=12)
    )


def search(
    icdpo: ICDPO, judge: Any, ns: Sequence[int] = (1, 2, 4), clock: Any = lambda: 0.0, **options: Any
) -> Any:
    return search_n(
        icdpo, ROWS, Judge(judge), ns, **{"default": 8, "until": 1.0, "clock": clock, "seed": 3, **options}
    )


def test_each_n_is_judged_by_what_it_would_have_answered() -> None:
    policy = Counting()
    found = search(made(policy), len)
    assert policy.asked == [4] * 12  # sampled once
    for n in (1, 2, 4):
        answers = [made().generate(row.messages, n=n, seed=3 + i).text for i, row in enumerate(ROWS)]
        assert found.rewards[n].mean == pytest.approx(sum(map(len, answers)) / 12)
    assert found == search(made(), len)


def test_a_larger_n_has_to_be_better() -> None:
    assert search(made(), lambda text: 1.0).n == 1
    # The reward agrees with the score: each candidate more helps.
    icdpo = made()

    def score(text: str) -> float:
        return icdpo.score("question", [text]).candidates[0].score

    found = search(icdpo, score, ns=(1, 16))
    assert found.n == 16
    assert found.reason == "the best"
    assert found.p_values[1] < 0.05


def test_the_smallest_of_equals_is_taken_and_the_best_is_named() -> None:
    found = search(made(), lambda text: -len(text) % 3, ns=(4, 2, 8))
    assert list(found.rewards) == [2, 4, 8]
    assert found.p_values[found.n] >= 0.05


def test_the_default_stays_unless_another_is_shown_to_be_better() -> None:
    found = search(made(), lambda text: 1.0, default=4)
    assert (found.n, found.reason) == (4, "unchanged: not significantly worse than n = 1")
    icdpo = made()
    worse = search(
        icdpo, lambda text: -icdpo.score("question", [text]).candidates[0].score, (1, 16), default=16
    )
    assert worse.n == 1, "the fewer, the better by this judge"
    assert worse.p_values[16] < 0.05


def test_time_that_is_up_leaves_n_as_it_was() -> None:
    times = iter([0.0, 0.0, 1.0])
    found = search(made(), len, clock=lambda: next(times))
    assert (found.n, found.prompts, found.p_values) == (8, 8, {})  # two batches of four
    assert found.prompts < FEWEST_PROMPTS
    assert "takes 10" in found.reason
    assert search(made(), len, until=0.0).rewards == {}


def test_prompts_that_do_not_fit_are_passed_over() -> None:
    found = search(made(FakePolicy(max_context=20)), len)
    assert (found.n, found.prompts) == (8, 0)


def test_prompts_are_answered_together_and_an_error_of_the_policy_is_not_swallowed() -> None:
    together: list[int] = []

    class Batches(FakePolicy):
        def sample_batch(self, requests: Any) -> Any:
            together.append(len(requests))
            return super().sample_batch(requests)

    search(made(Batches()), len)
    assert together == [4, 4, 4]

    class Broken(FakePolicy):
        def logprobs(self, context: Sequence[int], continuations: Sequence[Sequence[int]]) -> Any:
            raise PolicyError("no memory")

    with pytest.raises(PolicyError, match="no memory"):
        search(made(Broken()), len)
