"""`compare`: what each system's answers are worth by every measure, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.evaluation.comparison.text_statistics import describe
from icdpo_chains.evaluation.statistics import Interval, bootstrap, paired_p_value
from icdpo_chains.evaluation.system_answers import SystemAnswer

__all__ = ["Judgment", "SystemSummary", "check_judgments", "compare"]

_POINTS = {"win": 1.0, "tie": 0.5, "loss": 0.0}


@dataclass(frozen=True)
class Judgment:
    """What the judges said of one answer.

    Attributes:
        reward: the reward model's; `None` where it gave none.
        candidate_rewards: in the order of the answer's candidates; empty where they were not judged.
        toxicity: in [0, 1].
        against: the system that the pairwise judge compared the answer with.
        winner: `"win"`, `"tie"`, `"loss"` or `"failed"`, of this answer.
        disagreed: whether the order in which the two were shown changed what the pairwise judge said.
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
            InvalidInputError: a value has another type or name than it may have.
        """
        verdict = row.get("verdict") or {}
        if not isinstance(verdict, Mapping):
            raise InvalidInputError(f"a verdict must hold against and winner, not be {verdict!r:.80}")
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
    """One line of the comparison; a measure that was not taken is `None`.

    Attributes:
        system: the system's name.
        answers: how many there are.
        reward: mean reward.
        p_value: of the reward's difference from the base system's, on the prompts that both answered.
        win_rate: against the system of the verdicts; a tie is half a win, a failed verdict is left out.
        failed: how many verdicts failed.
        words: mean length, in words.
        distinct_2: different two-word sequences as a share of all, over all answers together;
            NaN where no answer has two words.
        refusal_rate: share of answers that refuse.
        toxicity: mean toxicity.
        seconds: mean wall time of an answer.
        tokens: sampled for an answer, on average.
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
        answers: of all systems.
        judgments: by the answers' keys; some or all may be missing.
        seed: of the bootstrap and the permutation test.
        base: the system that the p-values compare with.

    Returns:
        The systems by mean reward, best first; those without one follow in the order of the answers.
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
    """Checks that judgments were made of these answers.

    Raises:
        InvalidInputError: one has no answer, or another number of candidates than its answer; or answers were
            compared with different systems, which makes no one win rate.
    """
    known = {answer.key: len(answer.candidates) for answer in answers}
    for key, judgment in judgments.items():
        if key not in known:
            raise InvalidInputError(
                f"there is a judgment of {key!r:.120}, and no such answer: judge these answers, or give the "
                "answers that were judged"
            )
        if judgment.candidate_rewards and len(judgment.candidate_rewards) != known[key]:
            raise InvalidInputError(
                f"{key!r:.120} has {known[key]} candidates, and {len(judgment.candidate_rewards)} rewards of "
                "candidates: judge the answers anew"
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
        win_rate=bootstrap(points, seed=seed) if points else None,
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
