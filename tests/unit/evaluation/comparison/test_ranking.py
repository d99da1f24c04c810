"""Where scorers put the reward model's favourite."""

import itertools
from collections.abc import Mapping, Sequence

import pytest

from icdpo_chains.evaluation.comparison.comparison import Judgment
from icdpo_chains.evaluation.comparison.ranking import chance_level, favourite_rank, rank_scorers
from icdpo_chains.evaluation.system_answers import ScoredText, SystemAnswer
from icdpo_chains.messages import Message


def answer(
    scores: Mapping[str, Sequence[float | None]],
    prompt: str = "p",
    system: str = "icdpo",
    texts: str = "abcdefgh",
) -> SystemAnswer:
    count = len(next(iter(scores.values())))
    candidates = [ScoredText(texts[i], {name: row[i] for name, row in scores.items()}) for i in range(count)]
    return SystemAnswer(system, prompt, (Message("user", "hi"),), "a", "r", 1.0, 1, tuple(candidates))


def mrr(scores: Sequence[float | None], rewards: Sequence[float | None]) -> float:
    item = answer({"S": scores})
    [ranking] = rank_scorers([item], {item.key: Judgment(candidate_rewards=tuple(rewards))})
    return ranking.reciprocal_rank.mean


@pytest.mark.parametrize("rewards", [(0.1, 0.9, 0.5), (0.1, 0.9, 0.5, 0.2), (0.9, 0.9, 0.1, 0.2), (1.0, 1.0)])
def test_the_level_of_chance_is_the_mean_over_all_rankings(rewards: tuple[float, ...]) -> None:
    """Also where several candidates share the highest reward: no bonus for having many favourites."""
    orders = list(itertools.permutations(range(len(rewards))))
    mean = sum(mrr([float(place) for place in order], rewards) for order in orders) / len(orders)
    assert mean == pytest.approx(chance_level(len(rewards)))


@pytest.mark.parametrize(
    ("scores", "rank"),
    [
        ((3, 2, 1), 1),
        ((1, 2, 3), 3),
        ((2, 2, 2), 2),
        ((2, 2, 1), 1.5),
        ((None, 1, None), 2.5),
        ((0, None, None), 1),
    ],
)
def test_the_first_candidates_rank(scores: tuple[float | None, ...], rank: float) -> None:
    assert favourite_rank(scores, 0) == rank


def test_the_better_measure_stands_first() -> None:
    items = [answer({"bad": [1, 2, 3], "good": [3, 2, 1]}, prompt=f"p{i}") for i in range(4)]
    judged = {item.key: Judgment(candidate_rewards=(0.9, 0.5, None)) for item in items}
    good, bad = rank_scorers(items, judged)
    assert (good.measure, good.reciprocal_rank.mean, good.prompts) == ("good", 1.0, 4)
    assert (bad.measure, bad.reciprocal_rank.mean) == ("bad", pytest.approx(1 / 3))
    assert good.chance == bad.chance == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)


def test_a_prompt_counts_once_however_many_systems_share_its_candidates() -> None:
    shared = [answer({"S": [2.0, 1.0]}, system=name) for name in ("icdpo", "random_of_n", "oracle_of_n")]
    other = answer({"S": [1.0, 2.0]}, system="icdpo_retrieved", texts="xy")
    judged = {item.key: Judgment(candidate_rewards=(1.0, 0.0)) for item in (*shared, other)}
    [ranking] = rank_scorers([*shared, other], judged)
    assert ranking.prompts == 1
    assert ranking.reciprocal_rank.mean == pytest.approx((1 + 1 / 2) / 2)


def test_what_nothing_can_be_said_of_is_left_out() -> None:
    alone, unjudged, unscored = (
        answer({"S": [1.0]}, "alone"),
        answer({"S": [1.0, 2.0]}, "unjudged"),
        answer({"S": [None, None]}, "unscored"),
    )
    judged = {
        alone.key: Judgment(candidate_rewards=(1.0,)),
        unjudged.key: Judgment(candidate_rewards=(None, None)),
        unscored.key: Judgment(candidate_rewards=(1.0, 2.0)),
    }
    assert rank_scorers([alone, unjudged, unscored], judged) == []
    assert rank_scorers([answer({"S": [1.0, 2.0]})], {}) == []
