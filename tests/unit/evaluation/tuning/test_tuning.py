"""Tuning as a whole, on fakes: nothing leaks, time is kept, and the file says how it was found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from icdpo_chains import Demonstration, FakeEmbedder, FakePolicy
from icdpo_chains.config import ICDPOConfig
from icdpo_chains.demonstrations.duplicates import near_duplicates
from icdpo_chains.errors import DemonstrationError, InvalidInputError
from icdpo_chains.evaluation.judges.check import Check
from icdpo_chains.evaluation.tuning.tuning import Tuning, tune
from icdpo_chains.messages import Conversation
from icdpo_chains.policies.policy import Policy

ROWS = [
    Demonstration(
        f"What about thing{i} and matter{i}?", f"I am sorry. Shall we talk of thing{i}?", f"Whatever {i}."
    )
    for i in range(60)
]
DUPLICATES = [
    Demonstration(f"WHAT about thing{i} and matter{i}", f"Dear me, poor thing{i}.", "Your fault.")
    for i in range(0, 60, 3)
]


class Judge:
    name = "judge"

    def __init__(self) -> None:
        self.judged: set[str] = set()

    def rewards(self, conversations: Sequence[Conversation], responses: Sequence[str]) -> list[float]:
        self.judged |= {messages[-1].content for messages in conversations}  # type: ignore[union-attr]
        return [float(len(text)) for text in responses]


class Recorder(FakePolicy):
    def __init__(self) -> None:
        super().__init__()
        self.contexts: list[str] = []

    def logprobs(self, context: Sequence[int], continuations: Sequence[Sequence[int]]) -> list[list[float]]:
        self.contexts.append(self.tokenizer.decode(context))
        return super().logprobs(context, continuations)


def tuned(policy: FakePolicy, judge: Judge, trained: list[Demonstration], **options: Any) -> Tuning:
    def fit(policy: Policy, rows: Sequence[Demonstration], seed: int) -> Judge:
        trained.extend(rows)
        return judge

    given = {
        "clock": lambda: 0.0,
        "fit_reward": fit,
        "embedder": FakeEmbedder(),
        "max_tokens": 8,
        "ns": (1, 2),
        **options,
    }
    return tune(policy, [*ROWS, *DUPLICATES], **given)


def test_parts_do_not_leak_into_each_other() -> None:
    policy, judge, trained = Recorder(), Judge(), list[Demonstration]()
    tuned(policy, judge, trained)
    rows = [*ROWS, *DUPLICATES]
    group = dict(zip((row.prompt for row in rows), near_duplicates(rows), strict=True))
    of_reward = {group[row.prompt] for row in trained}
    of_prompts = {group[prompt] for prompt in judge.judged}
    of_search = {
        group[row.prompt] for row in rows if any(row.chosen in context for context in policy.contexts)
    }
    assert of_reward
    assert of_prompts
    assert of_search
    assert not of_reward & of_prompts
    assert not of_reward & of_search
    assert not of_prompts & of_search


def test_the_same_seed_gives_the_same_file() -> None:
    first = tuned(FakePolicy(), Judge(), [], seed=5).config
    assert first == tuned(FakePolicy(), Judge(), [], seed=5).config
    note = json.loads(json.dumps(first.note, allow_nan=False))
    assert (note["seed"], note["minutes"], note["rows"], note["model"]) == (5, 10, 80, "fake")
    assert note["found_by"].startswith("icdpo tune ")
    assert {"p_value", "best", "default", "pairs_searched", "pairs_compared", "n"} <= note.keys()


class Contrary(FakePolicy):
    """Prefers the worse answer whenever four demonstrations are not in context."""

    def logprobs(self, context: Sequence[int], continuations: Sequence[Sequence[int]]) -> list[list[float]]:
        shown = self.tokenizer.decode(context).count("assistant\n") - 1
        many = shown >= 4 and "kind, honest" in self.tokenizer.decode(context).replace("unkind", "")
        first = self.tokenizer("I", add_special_tokens=False).input_ids[0]
        return [[(1.0 if (ids[0] == first) == many else -1.0)] * len(ids) for ids in continuations]


def test_what_is_really_better_is_in_the_file_and_the_base_stays_otherwise() -> None:
    base = ICDPOConfig(model="org/m", pool=7, note={"mine": 1})
    found = tuned(Contrary(), Judge(), [], base=base, ks=(1, 4))
    assert found.setting.is_better
    assert found.setting.default.k == 2
    assert (found.config.k, found.config.model, found.config.pool) == (4, "org/m", 7)
    assert found.config.note["mine"] == 1
    assert found.config.note["is_better"] is True


def test_no_time_leaves_the_defaults() -> None:
    times = iter(range(0, 10**9, 3600))
    trained: list[Demonstration] = []
    found = tuned(FakePolicy(), Judge(), trained, clock=lambda: float(next(times)))
    assert trained == []
    assert found.config.changed({"note": {}}) == ICDPOConfig()
    assert found.count.reason == "unchanged: no time was left for it"


def test_a_reward_model_that_can_not_be_fitted_leaves_n() -> None:
    def fail(policy: Policy, rows: Sequence[Demonstration], seed: int) -> Judge:
        raise DemonstrationError("too few")

    found = tuned(FakePolicy(), Judge(), [], fit_reward=fail)
    assert (found.count.n, found.count.reason) == (8, "unchanged: too few")


def test_a_check_judges_in_place_of_a_reward_model() -> None:
    judged: list[str] = []

    def check(question: str, answer: str) -> bool:
        judged.append(question)
        return len(answer) > 4

    trained: list[Demonstration] = []
    found = tuned(FakePolicy(), Judge(), trained, reward=Check(check))
    assert trained == []
    assert found.count.prompts >= 20  # two fifths of the rows, near-duplicates together
    assert all(0 <= mean.mean <= 1 for mean in found.count.rewards.values())
    assert set(judged) <= {row.prompt for row in (*ROWS, *DUPLICATES)}


def test_a_short_budget_uses_fewer_rows() -> None:
    assert tuned(FakePolicy(), Judge(), [], minutes=0.1).note["rows"] == 20


def test_too_few_pairs() -> None:
    with pytest.raises(InvalidInputError, match="3 preference pairs are too few"):
        tune(FakePolicy(), [*ROWS[:3], Demonstration("q", "a")])


@pytest.mark.parametrize(
    "wrong",
    [
        {"minutes": 0},
        {"minutes": float("nan")},
        {"ks": (0,)},
        {"ns": (1000,)},
        {"retrievers": ["best"]},
        {"ks": ()},
    ],
    ids=str,
)
def test_wrong_arguments(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        tune(FakePolicy(), ROWS, **wrong)
