"""`search_n`: how many candidates are worth their time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.errors import ContextOverflowError, NoCandidateError
from icdpo_chains.evaluation.statistics import Interval, bootstrap, paired_p_value
from icdpo_chains.evaluation.tuning.successive_halving import SIGNIFICANT

if TYPE_CHECKING:
    from icdpo_chains.evaluation.judges.reward_model import Reward
    from icdpo_chains.icdpo import ICDPO

__all__ = ["FEWEST_PROMPTS", "CountSearch", "search_n"]

FEWEST_PROMPTS = 10
"""With fewer, no difference could be seen, and the n that was there stays."""


@dataclass(frozen=True)
class CountSearch:
    """What the search found.

    Attributes:
        n: how many candidates to sample.
        prompts: how many prompts were answered.
        rewards: by n, the mean reward of the answers.
        p_values: by n, of the paired permutation test against the n with the highest mean.
        reason: why this n.
    """

    n: int
    prompts: int = 0
    rewards: Mapping[int, Interval] = field(default_factory=dict)
    p_values: Mapping[int, float] = field(default_factory=dict)
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values; numbers that are not finite are left as they are."""
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

    The default stays if it is one of these: few prompts show no difference, and that is no reason to sample
    fewer candidates. Else it is the smallest of them.

    Candidates are sampled once for each prompt, as many as the largest n asks for: candidate i depends on the
    seed and i alone, so that the first n of them are what a smaller n would have given.

    Args:
        icdpo: answers.
        rows: whose prompts are answered; none of them may be a demonstration, or have trained the reward.
        reward: judges the answers.
        ns: what is tried.
        default: stays unless another is shown to be better.
        until: when to stop, by the clock; looked at between two prompts.
        clock: tells seconds.
        seed: of the sampling.
        on_progress: told what is being done.
    """
    ns = sorted(set(ns))
    rewards: dict[int, list[float]] = {n: [] for n in ns}
    for number, row in enumerate(rows):
        if clock() >= until:
            break
        on_progress(f"Answering prompt {number + 1} with {ns[-1]} candidates ...")
        try:
            ranked = icdpo.generate(row.messages, n=ns[-1], seed=seed + number, exclude={row.id}).candidates
        except (ContextOverflowError, NoCandidateError):
            continue
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
