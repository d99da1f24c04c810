"""`InstantScorer`: how much likelier the demonstrations made an answer.

DPO's closed form says that a policy and its reference define a reward, log(pi*(y|x) / pi0(y|x)) up to a
factor and a constant of x. ICDPO takes the model with demonstrations for pi* (arXiv 2402.09320):

    S(y)  = log pi(y | d+, x) - log pi(y | x)         against="base"
    S^(y) = log pi(y | d+, x) - log pi(y | d-, x)     against="rejected", the upgraded scorer
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["Against", "Aggregate", "InstantScorer", "Score"]

Against = Literal["rejected", "base", "auto"]
Aggregate = Literal["mean", "sum"]


@dataclass(frozen=True)
class Score:
    """The score of one answer.

    Attributes:
        value: the score in nats, per token with `aggregate="mean"`; -infinity if the answer can't be scored.
        expert_logprob: log pi(y | d+, x), summed over the tokens.
        contrast_logprob: log pi(y | x) or log pi(y | d-, x), summed.
        token_scores: the difference of the two at each token.
    """

    value: float
    expert_logprob: float
    contrast_logprob: float
    token_scores: tuple[float, ...]


@dataclass(frozen=True)
class InstantScorer:
    """Scores an answer from its tokens' log-probabilities in two contexts.

    Attributes:
        against: `"rejected"` contrasts with the rejected answers under the opposite instruction, `"base"`
            with the bare conversation. `"auto"` is `"rejected"` for a question whose demonstrations show a
            rejected answer, and `"base"` for a question without one.
        aggregate: the paper's `"sum"` over the tokens, or the `"mean"` per token.
        count_reasoning: the tokens of a model's thought are scored with those of the answer. A kind thought
            before a rude answer then raises the score, and a long thought outweighs its answer.

    Raises:
        ValueError: a name is unknown.
    """

    against: Against = "rejected"
    aggregate: Aggregate = "sum"
    count_reasoning: bool = False

    def __post_init__(self) -> None:
        for name, known in (("against", get_args(Against)), ("aggregate", get_args(Aggregate))):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is unknown: use {' or '.join(map(repr, known))}"
                )

    def score(self, expert: Sequence[float], contrast: Sequence[float]) -> Score:
        """Scores one answer.

        Args:
            expert: log pi(token | d+, x, earlier tokens), for each token.
            contrast: the same for the other context.

        Returns:
            The score. Its value is -infinity for an answer without tokens, and if a NaN or an infinity is
            involved, so that neither can win.

        Raises:
            ValueError: the two lengths differ.
        """
        if len(expert) != len(contrast):
            raise ValueError(
                f"{len(expert)} expert and {len(contrast)} contrast log-probabilities: both sides must be of "
                "the same tokens"
            )
        token_scores = tuple(e - c for e, c in zip(expert, contrast, strict=True))
        value = -math.inf
        if token_scores and all(map(math.isfinite, token_scores)):
            value = math.fsum(token_scores)
            if self.aggregate == "mean":
                value /= len(token_scores)
        return Score(value, _sum(expert), _sum(contrast), token_scores)


def _sum(logprobs: Sequence[float]) -> float:
    # math.fsum raises if both infinities occur; the result here is NaN.
    return math.fsum(logprobs) if all(map(math.isfinite, logprobs)) else sum(logprobs)
