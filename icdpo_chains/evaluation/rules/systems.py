"""`RULE_SYSTEMS`: the systems that the rules compare; each picks its answer from `RuleAnswers`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from icdpo_chains.evaluation.rules.answers import RuleAnswer, RuleAnswers

__all__ = ["RULE_SYSTEMS", "RuleSystem"]


@dataclass(frozen=True)
class RuleSystem:
    """A system of the comparison.

    Attributes:
        name: names the system in JSON.
        label: describes the system in a table.
        pick: returns the system's answer.
        stages: the timed stages that the system needs.
        candidates: how many of the n candidates the system samples; `None` for all, 0 for a greedy answer.
    """

    name: str
    label: str
    pick: Callable[[RuleAnswers], RuleAnswer]
    stages: tuple[str, ...]
    candidates: int | None = None

    def seconds(self, answers: RuleAnswers) -> float:
        """Returns the wall time of the system's answer; one sample of n counts as an nth of their time."""
        total = math.fsum(answers.seconds[stage] for stage in self.stages)
        return total / len(answers.candidates) if self.candidates == 1 else total

    def tokens(self, answers: RuleAnswers) -> int:
        """Returns how many tokens were sampled for the answer."""
        if self.candidates is not None:
            return self.pick(answers).tokens
        return sum(candidate.tokens for candidate in answers.candidates)


def _best(score: str) -> Callable[[RuleAnswers], RuleAnswer]:
    def pick(answers: RuleAnswers) -> RuleAnswer:
        def value(candidate: RuleAnswer) -> float:
            found = candidate.scores[score]
            return -math.inf if found is None else found

        return max(answers.candidates, key=value)

    return pick


def _oracle(answers: RuleAnswers) -> RuleAnswer:
    return max(answers.candidates, key=lambda candidate: candidate.follows)


_AGAINST_BASE = ("candidates", "score_base")
_AGAINST_REJECTED = ("candidates", "score_rejected")

RULE_SYSTEMS = (
    RuleSystem("base", "base, greedy", lambda answers: answers.base, ("base",), 0),
    RuleSystem("few_shot", "few-shot, greedy", lambda answers: answers.few_shot, ("few_shot",), 0),
    RuleSystem("random", "one of n by chance", lambda answers: answers.candidates[0], ("candidates",), 1),
    RuleSystem("logprob", "best of n by log-probability", _best("logprob"), ("candidates",)),
    RuleSystem("s_mean", "ICDPO, S a token", _best("s_mean"), _AGAINST_BASE),
    RuleSystem("s_sum", "ICDPO, S summed", _best("s_sum"), _AGAINST_BASE),
    RuleSystem("s_hat_mean", "ICDPO, S^ a token", _best("s_hat_mean"), _AGAINST_REJECTED),
    RuleSystem("s_hat_sum", "ICDPO, S^ summed", _best("s_hat_sum"), _AGAINST_REJECTED),
    RuleSystem("oracle", "oracle of n", _oracle, ("candidates",)),
)
"""All systems, in the order of the tables."""
