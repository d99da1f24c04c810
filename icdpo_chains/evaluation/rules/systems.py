"""`RULE_SYSTEMS`: the systems that the rules compare; each picks its answer from `RuleAnswers`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
        stages: the timed stages that the system needs; its answer costs their time.
        candidates: how many of the n candidates the system samples; `None` for all, 0 for an answer of its
            own.
        own: the added stage that samples the system's own n candidates; `None` for the run's candidates.
    """

    name: str
    label: str
    pick: Callable[[RuleAnswers], RuleAnswer]
    stages: tuple[str, ...]
    candidates: int | None = None
    own: str | None = None

    def answered(self, answers: RuleAnswers) -> bool:
        """Returns whether the answers contain the system's answer."""
        return all(stage in answers.seconds for stage in self.stages)

    def seconds(self, answers: RuleAnswers) -> float:
        """Returns the wall time of the system's answer; one sample of n counts as an nth of their time."""
        total = math.fsum(answers.seconds[stage] for stage in self.stages)
        return total / len(answers.candidates) if self.candidates == 1 else total

    def tokens(self, answers: RuleAnswers) -> int:
        """Returns how many tokens were sampled for the answer."""
        if self.candidates is not None:
            return self.pick(answers).tokens
        candidates = answers.candidates if self.own is None else answers.added[self.own]
        return sum(candidate.tokens for candidate in candidates)


def _best(score: str) -> Callable[[RuleAnswers], RuleAnswer]:
    return lambda answers: _highest(answers.candidates, score)


def _highest(candidates: Sequence[RuleAnswer], score: str) -> RuleAnswer:
    def value(candidate: RuleAnswer) -> float:
        found = candidate.scores[score]
        return -math.inf if found is None else found

    return max(candidates, key=value)


def _oracle(answers: RuleAnswers) -> RuleAnswer:
    return max(answers.candidates, key=lambda candidate: candidate.follows)


def _best_added(stage: str, score: str) -> Callable[[RuleAnswers], RuleAnswer]:
    return lambda answers: _highest(answers.added[stage], score)


def _added(stage: str) -> Callable[[RuleAnswers], RuleAnswer]:
    return lambda answers: answers.added[stage][0]


_AGAINST_BASE = ("candidates", "score_base")
_AGAINST_REJECTED = ("candidates", "score_rejected")

RULE_SYSTEMS = (
    RuleSystem("base", "base, greedy", lambda answers: answers.base, ("base",), 0),
    RuleSystem("few_shot", "few-shot, greedy", lambda answers: answers.few_shot, ("few_shot",), 0),
    RuleSystem("random", "one of n by chance", lambda answers: answers.candidates[0], ("candidates",), 1),
    RuleSystem("sft_lora", "SFT + LoRA, greedy", _added("sft_lora"), ("sft_lora",), 0),
    RuleSystem(
        "reward_decoding", "reward decoding, greedy", _added("reward_decoding"), ("reward_decoding",), 0
    ),
    RuleSystem("best_of_n", "best of n by reward model", _best("reward"), ("candidates", "best_of_n")),
    RuleSystem("logprob", "best of n by log-probability", _best("logprob"), ("candidates",)),
    RuleSystem("s_mean", "ICDPO, S a token", _best("s_mean"), _AGAINST_BASE),
    RuleSystem("s_sum", "ICDPO, S summed", _best("s_sum"), _AGAINST_BASE),
    RuleSystem("s_hat_mean", "ICDPO, S^ a token", _best("s_hat_mean"), _AGAINST_REJECTED),
    RuleSystem("s_hat_sum", "ICDPO, S^ summed", _best("s_hat_sum"), _AGAINST_REJECTED),
    RuleSystem("guided", "guided, greedy", _added("guided"), ("guided",), 0),
    RuleSystem(
        "guided_of_n",
        "guided, best of n by S^ summed",
        _best_added("guided_of_n", "s_hat_sum"),
        ("guided_of_n",),
        own="guided_of_n",
    ),
    RuleSystem("oracle", "oracle of n", _oracle, ("candidates",)),
)
"""All systems, in the order of the tables."""
