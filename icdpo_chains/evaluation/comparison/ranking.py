"""`rank_scorers`: the rank that each measure gives to the reward model's favourite candidate.

The scorer analysis of ICDPO (arXiv 2402.09320): the mean reciprocal rank of the reward model's favourite
among the n candidates. A random ranking reaches H_n / n on average, with H_n = 1 + 1/2 + ... + 1/n.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from icdpo_chains.evaluation.comparison.comparison import Judgment
from icdpo_chains.evaluation.statistics import Interval, bootstrap
from icdpo_chains.evaluation.system_answers import SystemAnswer

__all__ = ["ScorerRanking", "chance_level", "favourite_rank", "rank_scorers"]


@dataclass(frozen=True)
class ScorerRanking:
    """The ranking of the favourites by one measure.

    Attributes:
        measure: its name in `ScoredText.scores`.
        reciprocal_rank: the mean over prompts, in (0, 1].
        chance: the average of a random ranking of the same candidates.
        prompts: the number of prompts; shared candidates of several systems for one prompt count once.
    """

    measure: str
    reciprocal_rank: Interval
    chance: float
    prompts: int


def rank_scorers(
    answers: Iterable[SystemAnswer], judgments: Mapping[str, Judgment], *, seed: int = 0
) -> list[ScorerRanking]:
    """Ranks measures by their ranks of the candidate with the highest reward.

    Args:
        answers: the answers; those without candidates or candidate rewards are left out.
        judgments: the judgments by the answers' keys, with a reward for each candidate.
        seed: the seed of the bootstrap over prompts.

    Returns:
        The measures, best first.
    """
    # By measure and prompt; systems that share their candidates count once.
    found: dict[str, dict[str, dict[tuple[object, ...], tuple[float, float]]]] = {}
    for answer in answers:
        rewards = judgments.get(answer.key, Judgment()).candidate_rewards
        if len(rewards) < 2 or all(reward is None for reward in rewards):
            continue
        for measure in dict.fromkeys(name for item in answer.candidates for name in item.scores):
            scores = tuple(item.scores.get(measure) for item in answer.candidates)
            if all(score is None for score in scores):
                continue
            same = (tuple(item.text for item in answer.candidates), scores)
            sets = found.setdefault(measure, {}).setdefault(answer.prompt_id, {})
            sets[same] = (_reciprocal_rank(scores, rewards), chance_level(len(scores)))
    rankings = [_ranking(measure, list(prompts.values()), seed) for measure, prompts in found.items()]
    return sorted(rankings, key=lambda item: -item.reciprocal_rank.mean)


def chance_level(n: int) -> float:
    """Returns the average reciprocal rank of a random ranking of n candidates: H_n / n."""
    return fmean(1 / rank for rank in range(1, n + 1))


def favourite_rank(scores: Sequence[float | None], favourite: int) -> float:
    """Returns the rank of one candidate, from 1; candidates with the same score share their mean rank.

    A missing score is below all others.
    """
    numbers = [-math.inf if score is None else score for score in scores]
    own = numbers[favourite]
    above, level = sum(number > own for number in numbers), sum(number == own for number in numbers)
    return above + (level + 1) / 2


def _reciprocal_rank(scores: Sequence[float | None], rewards: Sequence[float | None]) -> float:
    best = max(reward for reward in rewards if reward is not None)
    favourites = [i for i, reward in enumerate(rewards) if reward == best]
    # The best rank of several favourites would exceed the level of chance by chance alone.
    return fmean(1 / favourite_rank(scores, favourite) for favourite in favourites)


def _ranking(
    measure: str, prompts: Sequence[Mapping[tuple[object, ...], tuple[float, float]]], seed: int
) -> ScorerRanking:
    ranks = [fmean(rank for rank, _ in sets.values()) for sets in prompts]
    chances = [fmean(chance for _, chance in sets.values()) for sets in prompts]
    return ScorerRanking(measure, bootstrap(ranks, seed=seed), fmean(chances), len(prompts))
