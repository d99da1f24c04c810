"""`search_n`: finds how many candidates are worth their time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.errors import ContextOverflowError, NoCandidateError
from icdpo_chains.evaluation.statistics import Interval, bootstrap, paired_p_value
from icdpo_chains.evaluation.tuning.successive_halving import SIGNIFICANT

if TYPE_CHECKING:
    from icdpo_chains.evaluation.judges.reward import Reward
    from icdpo_chains.icdpo import ICDPO
    from icdpo_chains.question import Question
    from icdpo_chains.result import Candidate

__all__ = ["FEWEST_PROMPTS", "CountSearch", "search_n"]

FEWEST_PROMPTS = 10
"""Fewer prompts show no difference, and the default n stays."""

_BATCH = 4
"""Prompts answered together; the time is checked between two batches."""


@dataclass(frozen=True)
class CountSearch:
    """The result of the search.

    Attributes:
        n: how many candidates to sample.
        prompts: how many prompts were answered.
        rewards: the mean reward of the answers, by n.
        p_values: of the paired permutation test against the n with the highest mean, by n.
        reason: why this n is chosen.
    """

    n: int
    prompts: int = 0
    rewards: Mapping[int, Interval] = field(default_factory=dict)
    p_values: Mapping[int, float] = field(default_factory=dict)
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values, with numbers that are not finite as they are."""
        return {
            "n": self.n,
            "prompts": self.prompts,
            "mean_rewards": {str(n): found.mean for n, found in self.rewards.items()},
            "p_values": {str(n): value for n, value in self.p_values.items()},
            "reason": self.reason,
        }


def search_n(
    icdpo: ICDPO,
    rows: Sequence[Demonstration],
    reward: Reward,
    ns: Sequence[int],
    *,
    default: int,
    until: float,
    clock: Callable[[], float],
    seed: int = 0,
    on_progress: Callable[[str], None] = lambda _: None,
) -> CountSearch:
    """Finds an n whose answers are not significantly worse than those of the best n.

    The default stays if it is such an n: few prompts show no difference, which is no reason to sample fewer
    candidates. Otherwise the smallest such n is chosen.

    Candidates are sampled once for each prompt, as many as the largest n. Candidate i depends on the seed and
    i alone, so the first n candidates are those that a smaller n samples.

    Args:
        icdpo: answers.
        rows: their prompts are answered; none of them is a demonstration or a training row of the reward.
        reward: judges the answers.
        ns: the numbers of candidates to try.
        default: stays unless another n is shown to be better.
        until: when to stop, by the clock.
        clock: returns seconds.
        seed: of the first prompt; the other prompts have the seeds that follow.
        on_progress: receives a line about the work in progress.
    """
    ns = sorted(set(ns))
    rewards: dict[int, list[float]] = {n: [] for n in ns}
    for start in range(0, len(rows), _BATCH):
        if clock() >= until:
            break
        block = rows[start : start + _BATCH]
        on_progress(f"Answering prompts {start + 1} to {start + len(block)} with {ns[-1]} candidates ...")
        for row, ranked in _answered(icdpo, block, ns[-1], seed + start):
            picks = {n: next(item.text for item in ranked if item.index < n) for n in ns}
            texts = list(dict.fromkeys(picks.values()))
            judged = dict(zip(texts, reward.rewards([row.messages] * len(texts), texts), strict=True))
            for n, text in picks.items():
                rewards[n].append(judged[text])
    prompts = len(rewards[ns[0]])
    means = {n: bootstrap(values, seed=seed) for n, values in rewards.items()}
    if prompts < FEWEST_PROMPTS:
        reason = f"unchanged: {prompts} prompts were answered in time, and it takes {FEWEST_PROMPTS} to tell"
        return CountSearch(default, prompts, means if prompts else {}, {}, reason)
    best = max(ns, key=lambda n: means[n].mean)
    p_values = {n: paired_p_value(rewards[n], rewards[best], seed=seed) for n in ns}
    if p_values.get(default, 0) >= SIGNIFICANT and default != best:
        reason = f"unchanged: not significantly worse than n = {best}"
        return CountSearch(default, prompts, means, p_values, reason)
    chosen = next(n for n in ns if n == best or p_values[n] >= SIGNIFICANT)
    reason = "the best" if chosen == best else f"the smallest that is not significantly worse than n = {best}"
    return CountSearch(chosen, prompts, means, p_values, reason)


def _answered(
    icdpo: ICDPO, rows: Sequence[Demonstration], n: int, seed: int
) -> Iterator[tuple[Demonstration, tuple[Candidate, ...]]]:
    """Yields the rows that can be answered, each with its candidates, best first; all are sampled together.

    The seeds of the rows are consecutive: with one seed, the prompts of a search would share their luck.
    """
    asked: list[tuple[Demonstration, Question]] = []
    for number, row in enumerate(rows):
        shown = icdpo.retrieve(row.messages, exclude={row.id})
        with contextlib.suppress(ContextOverflowError):
            asked.append((row, icdpo.ask(row.messages, shown, n=n, seed=seed + number)))
    drafts = icdpo.sample_questions([each for _, each in asked]) if asked else []
    for (row, _), draft in zip(asked, drafts, strict=True):
        try:
            result = icdpo.select(draft)
        except NoCandidateError:
            continue
        yield row, result.candidates
