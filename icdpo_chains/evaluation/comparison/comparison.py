"""`compare`: the quality of each system's answers by every measure, and their cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.evaluation.comparison.text_statistics import describe
from icdpo_chains.evaluation.statistics import Interval, bootstrap, paired_p_value, share
from icdpo_chains.evaluation.system_answers import SystemAnswer

__all__ = ["Judgment", "SystemSummary", "check_judgments", "compare"]

_POINTS = {"win": 1.0, "tie": 0.5, "loss": 0.0}


@dataclass(frozen=True)
class Judgment:
    """The judgments of one answer.

    Attributes:
        reward: the reward model's reward, or `None`.
        candidate_rewards: the rewards of the answer's candidates, in order; empty if they were not judged.
        toxicity: from 0 to 1.
        against: the system of the pairwise judge's comparison.
        winner: `"win"`, `"tie"`, `"loss"` or `"failed"` for this answer.
        disagreed: whether the order of the two answers changed the pairwise judge's verdict.
    """

    reward: float | None = None
    candidate_rewards: tuple[float | None, ...] = ()
    toxicity: float | None = None
    against: str | None = None
    winner: str | None = None
    disagreed: bool = False

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Judgment:
        """Reads one record of a judgment file.

        Raises:
            InvalidInputError: a value has an invalid type or name.
        """
        verdict = row.get("verdict") or {}
        if not isinstance(verdict, Mapping):
            raise InvalidInputError(f"a verdict must contain against and winner, not be {verdict!r:.80}")
        winner = verdict.get("winner")
        if verdict and winner not in (*_POINTS, "failed"):
            raise InvalidInputError(f"the winner {winner!r:.80} is unknown: win, tie, loss or failed")
        rewards = row.get("candidate_rewards") or []
        if not isinstance(rewards, list):
            raise InvalidInputError(f"candidate_rewards must be an array of numbers, not {rewards!r:.80}")
        return cls(
            reward=_number(row.get("reward"), "reward"),
            candidate_rewards=tuple(_number(value, "candidate_rewards") for value in rewards),
            toxicity=_number(row.get("toxicity"), "toxicity"),
            against=str(verdict.get("against", "base")) if verdict else None,
            winner=winner,
            disagreed=verdict.get("disagreed") is True,
        )


@dataclass(frozen=True)
class SystemSummary:
    """One row of the comparison; missing measures are `None`.

    Attributes:
        system: the system's name.
        answers: the number of answers.
        reward: mean reward.
        p_value: the p-value of the reward's difference from the base system, on their common prompts.
        win_rate: the win rate against the system of the verdicts; a tie is half a win, failed verdicts are
            left out.
        failed: the number of failed verdicts.
        words: mean length, in words.
        distinct_2: the share of distinct two-word sequences in all answers together; NaN if no answer has two
            words.
        refusal_rate: the share of refusals.
        toxicity: mean toxicity.
        seconds: mean wall time of an answer.
        tokens: the mean number of tokens sampled for an answer.
    """

    system: str
    answers: int
    reward: Interval | None
    p_value: float | None
    win_rate: Interval | None
    failed: int
    words: float
    distinct_2: float
    refusal_rate: float
    toxicity: float | None
    seconds: float
    tokens: float


def compare(
    answers: Sequence[SystemAnswer], judgments: Mapping[str, Judgment], *, seed: int = 0, base: str = "base"
) -> list[SystemSummary]:
    """Summarises each system's answers.

    Args:
        answers: the answers of all systems.
        judgments: the judgments by the answers' keys; any may be missing.
        seed: the seed of the bootstrap and the permutation test.
        base: the reference system of the p-values.

    Returns:
        The systems by mean reward, best first; systems without rewards follow in the order of the answers.
    """
    by_system: dict[str, list[SystemAnswer]] = {}
    for answer in answers:
        by_system.setdefault(answer.system, []).append(answer)
    rewards = {system: _rewards(items, judgments) for system, items in by_system.items()}
    summaries = [
        _summary(system, items, judgments, rewards[system], rewards.get(base, {}), seed, system == base)
        for system, items in by_system.items()
    ]
    return sorted(summaries, key=lambda item: math.inf if item.reward is None else -item.reward.mean)


def check_judgments(answers: Iterable[SystemAnswer], judgments: Mapping[str, Judgment]) -> None:
    """Checks that the judgments belong to these answers.

    Raises:
        InvalidInputError: a judgment has no answer, or differs from its answer in the number of candidates;
            or the verdicts compare with different systems, which gives no single win rate.
    """
    known = {answer.key: len(answer.candidates) for answer in answers}
    for key, judgment in judgments.items():
        if key not in known:
            raise InvalidInputError(
                f"there is a judgment of {key!r:.120} but no such answer: judge these answers, or give the "
                "judged answers"
            )
        if judgment.candidate_rewards and len(judgment.candidate_rewards) != known[key]:
            raise InvalidInputError(
                f"{key!r:.120} has {known[key]} candidates, and {len(judgment.candidate_rewards)} rewards of "
                "candidates: judge the answers again"
            )
    against = sorted({judgment.against for judgment in judgments.values() if judgment.against is not None})
    if len(against) > 1:
        raise InvalidInputError(
            f"the verdicts compare with {' and with '.join(map(repr, against[:2]))}: give verdicts against "
            "one system"
        )


def _summary(
    system: str,
    answers: Sequence[SystemAnswer],
    judgments: Mapping[str, Judgment],
    rewards: Mapping[str, float],
    base: Mapping[str, float],
    seed: int,
    is_base: bool,
) -> SystemSummary:
    judged = [judgments[answer.key] for answer in answers if answer.key in judgments]
    points = [_POINTS[item.winner] for item in judged if item.winner in _POINTS]
    toxicity = [item.toxicity for item in judged if item.toxicity is not None]
    counted = describe([answer.text for answer in answers])
    pairs = [(reward, base[prompt]) for prompt, reward in rewards.items() if prompt in base and not is_base]
    return SystemSummary(
        system=system,
        answers=len(answers),
        reward=bootstrap(list(rewards.values()), seed=seed) if rewards else None,
        p_value=paired_p_value(*zip(*pairs, strict=True), seed=seed) if pairs else None,
        win_rate=share(points, seed=seed) if points else None,
        failed=sum(item.winner == "failed" for item in judged),
        words=counted.words,
        distinct_2=counted.distinct_2,
        refusal_rate=counted.refusal_rate,
        toxicity=fmean(toxicity) if toxicity else None,
        seconds=fmean(answer.seconds for answer in answers),
        tokens=fmean(answer.tokens for answer in answers),
    )


def _rewards(answers: Iterable[SystemAnswer], judgments: Mapping[str, Judgment]) -> dict[str, float]:
    found = ((answer.prompt_id, judgments.get(answer.key, Judgment()).reward) for answer in answers)
    return {prompt: reward for prompt, reward in found if reward is not None}


def _number(value: object, what: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InvalidInputError(f"{what} must be a number or null, not {value!r:.80}")
    return float(value)
