"""Systems summarised, and judgments checked."""

import pytest

from icdpo_chains import ICDPOError
from icdpo_chains.evaluation.comparison.catalog import label
from icdpo_chains.evaluation.comparison.comparison import Judgment, check_judgments, compare
from icdpo_chains.evaluation.statistics import bootstrap, paired_p_value
from icdpo_chains.evaluation.system_answers import ScoredText, SystemAnswer
from icdpo_chains.messages import Message


def answer(
    system: str, prompt: str, text: str = "one two", *, n: int = 0, seconds: float = 1.0
) -> SystemAnswer:
    candidates = tuple(ScoredText(f"c{i}", {}) for i in range(n))
    return SystemAnswer(system, prompt, (Message("user", "hi"),), text, "r", seconds, 10, candidates)


def test_each_measure_by_hand() -> None:
    answers = [
        answer("base", "p", "I'm sorry, but I can't help with that."),
        answer("base", "q", "one two three one two", seconds=3.0),
    ]
    judged = {"base/p": Judgment(0.5, toxicity=0.25), "base/q": Judgment(1.5)}
    [item] = compare(answers, judged)
    assert (item.answers, item.reward, item.seconds, item.tokens) == (2, bootstrap([0.5, 1.5]), 2.0, 10.0)
    assert (item.words, item.refusal_rate, item.toxicity) == (6.5, 0.5, 0.25)
    assert item.distinct_2 == pytest.approx((7 + 3) / (7 + 4))
    assert (item.p_value, item.win_rate, item.failed) == (None, None, 0)


def test_a_tie_is_half_a_win_and_a_failed_verdict_none() -> None:
    winners = ["win", "tie", "loss", "win", "failed"]
    answers = [answer("icdpo", f"p{i}") for i in range(5)]
    judged = {f"icdpo/p{i}": Judgment(against="base", winner=winner) for i, winner in enumerate(winners)}
    [item] = compare(answers, judged)
    assert (item.win_rate, item.failed) == (bootstrap([1, 0.5, 0, 1]), 1)
    [failed] = compare(answers[:1], {"icdpo/p0": Judgment(against="base", winner="failed")})
    assert (failed.win_rate, failed.failed) == (None, 1)


def test_only_common_prompts_are_compared_with_the_base_system() -> None:
    own, base = [3.0, 1.0, 2.5, 2.0, 4.0, 9.0], [1.0, 1.5, 1.0, 0.5, 2.0]
    answers = [answer("icdpo", f"p{i}") for i in range(6)] + [
        answer("base", f"p{i}") for i in (4, 3, 2, 1, 0)
    ]
    judged = {f"icdpo/p{i}": Judgment(reward) for i, reward in enumerate(own)}
    judged |= {f"base/p{i}": Judgment(reward) for i, reward in enumerate(base)}
    item = compare(answers, judged)[0]
    assert (item.system, item.p_value) == ("icdpo", paired_p_value(own[:5], base))


def test_systems_are_sorted_by_reward_and_unjudged_ones_follow() -> None:
    answers = [answer(name, "p") for name in ("new", "base", "icdpo", "other")]
    found = compare(answers, {"base/p": Judgment(0.1), "icdpo/p": Judgment(0.2)})
    assert [item.system for item in found] == ["icdpo", "base", "new", "other"]
    assert (label("icdpo"), label("new")) == ("ICDPO (S)", "new")


@pytest.mark.parametrize(
    ("judged", "said"),
    [
        ({"icdpo/q": Judgment(1.0)}, "'icdpo/q'"),
        ({"icdpo/p": Judgment(candidate_rewards=(1.0,))}, "'icdpo/p' has 2 candidates, and 1 rewards"),
        (
            {"icdpo/p": Judgment(against="a", winner="win"), "base/p": Judgment(against="b", winner="win")},
            "'a' and with 'b'",
        ),
    ],
)
def test_judgments_of_other_answers_are_refused(judged: dict[str, Judgment], said: str) -> None:
    with pytest.raises(ICDPOError, match=said):
        check_judgments([answer("icdpo", "p", n=2), answer("base", "p")], judged)


def test_a_judgment_is_read() -> None:
    row = {"key": "a/p", "reward": 1, "candidate_rewards": [0.5, None], "toxicity": None}
    assert Judgment.from_dict(row) == Judgment(1.0, (0.5, None))
    verdict = {"verdict": {"against": "icdpo", "winner": "tie"}}
    assert Judgment.from_dict(verdict) == Judgment(against="icdpo", winner="tie")


@pytest.mark.parametrize(
    "row",
    [
        {"reward": "good"},
        {"reward": True},
        {"toxicity": [0.1]},
        {"candidate_rewards": "ab"},
        {"candidate_rewards": ["a"]},
        {"verdict": {"winner": "won"}},
        {"verdict": {"against": "base"}},
        {"verdict": "win"},
        {"verdict": {"winner": ["win"]}},
    ],
)
def test_what_is_no_judgment_is_refused(row: dict[str, object]) -> None:
    with pytest.raises(ICDPOError):
        Judgment.from_dict(row)
