"""`SamplingParams` and `SampleRequest` say what to sample; a `Sample` is one sampled continuation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from icdpo_chains.foundation.validation import check_count, check_number
from icdpo_chains.policies.token_stream import TokenStream
from icdpo_chains.reasoning.thoughts import ThoughtReader

__all__ = [
    "MAX_CANDIDATES",
    "Decoding",
    "FinishReason",
    "Sample",
    "SampleRequest",
    "SamplingParams",
    "check_finalists",
]

Decoding = Literal["sample", "guided"]
FinishReason = Literal["stop", "length", "rejected"]

MAX_CANDIDATES = 256
"""The maximum number of candidates per call: a typo must not exhaust the memory."""


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How candidates are sampled. The defaults are the paper's (arXiv 2402.09320): top-p 0.8, 128 tokens.

    Attributes:
        max_new_tokens: the longest answer, in tokens.
        min_new_tokens: the minimum length of an answer, in tokens; no end token is sampled earlier.
        temperature: divides the logits; 0 always takes the likeliest token.
        top_p: keeps the likeliest tokens that together reach this probability; 1 keeps all.
        top_k: keeps this many of the likeliest tokens; `None` keeps all.
        repetition_penalty: above 1, makes tokens of the context and the answer less likely (arXiv 1909.05858,
            as in transformers).
        stop: strings that end an answer; they are not part of it.
        seed: makes the candidates reproducible: candidate i depends on the seed and i alone, not on n. (On a
            GPU, rounding depends on the batch, and may change a token.)
        decoding: `"sample"` samples from the model. `"guided"` samples from the contrast of the two contexts
            of the score at each token (arXiv 2509.26169); see `Guidance`.
        guidance: the weight beta of the contrast; 0 equals `"sample"`.
        alpha: guided decoding never chooses tokens below this share of the likeliest token's probability.
        max_thinking_tokens: the longest thought, in tokens; the closing tag is forced after it, and belongs
            to the thought. `None` for no limit.
        reasoning: separates thoughts from answers, so that a stop string ends the answer and never a thought.
            `ICDPO` sets this attribute for each context.

    Raises:
        TypeError: a value is of the wrong type.
        ValueError: a value is out of range.
    """

    max_new_tokens: int = 128
    min_new_tokens: int = 1
    temperature: float = 1.0
    top_p: float = 0.8
    top_k: int | None = None
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    decoding: Decoding = "sample"
    guidance: float = 1.0
    alpha: float = 0.1
    max_thinking_tokens: int | None = None
    reasoning: ThoughtReader | None = None

    def __post_init__(self) -> None:
        check_count(self.max_new_tokens, "max_new_tokens", 1_000_000)
        if self.min_new_tokens != 0 or isinstance(self.min_new_tokens, (bool, float)):
            check_count(self.min_new_tokens, "min_new_tokens", self.max_new_tokens)
        if self.max_thinking_tokens is not None:
            check_count(self.max_thinking_tokens, "max_thinking_tokens", 1_000_000)
            if self.max_thinking_tokens >= self.max_new_tokens:
                raise ValueError(
                    f"max_thinking_tokens is {self.max_thinking_tokens} and leaves no room for an answer in "
                    f"{self.max_new_tokens} new tokens: raise max_tokens, or lower max_thinking_tokens"
                )
        check_number(self.temperature, "temperature", 0, 100, "0 is greedy, 1 leaves the model as it is")
        check_number(self.top_p, "top_p", 0, 1, "1 keeps all tokens")
        if self.top_p == 0:
            raise ValueError("top_p is 0, which leaves no token: use temperature=0 for the likeliest one")
        if self.top_k is not None:
            check_count(self.top_k, "top_k", 10_000_000)
        check_number(self.repetition_penalty, "repetition_penalty", 0.01, 100, "1 means no penalty")
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        for text in stop:
            if not isinstance(text, str):
                raise TypeError(f"stop must contain strings, not {text!r}")
            if not text:
                raise ValueError("stop contains an empty string, which would end every answer at once")
        object.__setattr__(self, "stop", stop)
        if self.seed is not None:
            if isinstance(self.seed, bool) or not isinstance(self.seed, int):
                raise TypeError(f"seed must be a whole number or None, not {self.seed!r}")
            if not 0 <= self.seed < 2**63:
                raise ValueError(f"seed is {self.seed}, and must be from 0 to 2**63 - 1")
        if self.decoding not in get_args(Decoding):
            known = " or ".join(map(repr, get_args(Decoding)))
            raise ValueError(f"decoding={self.decoding!r} is unknown: use {known}")
        check_number(self.guidance, "guidance", 0, 100, "0 leaves the model as it is, 1 is usual")
        check_number(self.alpha, "alpha", 0, 1, "0 keeps all tokens, 1 only the likeliest")

    @property
    def guided(self) -> bool:
        """Whether the contrast context takes part in the choice of tokens."""
        return self.decoding == "guided" and self.guidance != 0


@dataclass(frozen=True)
class SampleRequest:
    """A request for n continuations of a context.

    Attributes:
        context: token ids.
        n: the number of continuations.
        sampling: the sampling parameters.
        cancelled: setting this event ends the sampling.
        finalists: rejects candidates that fall behind by the instant score while they are sampled, until this
            many are left. A policy that can't reject candidates samples all of them to the end.
        contrast: the other context of the score, which `finalists` and guided decoding need.
        stream: receives the tokens of the only continuation as they are sampled. A policy may ignore it.
        on_ended: called in the policy's thread whenever a continuation has ended; it must return at once and
            not raise. A policy may ignore it, or call it again if it samples again after a failure.
        first: the number of the first continuation: 4 with `n=4` asks for the last four of the eight that
            `n=8` gives from the same seed.

    Raises:
        ValueError: guided decoding has no contrast context or is combined with `finalists`, or a stream has
            several continuations.
    """

    context: Sequence[int]
    n: int
    sampling: SamplingParams
    cancelled: threading.Event | None = None
    finalists: int | None = None
    contrast: Sequence[int] = ()
    stream: TokenStream | None = None
    on_ended: Callable[[], None] | None = None
    first: int = 0

    def __post_init__(self) -> None:
        if self.stream is not None and self.n != 1:
            raise ValueError(f"n is {self.n}, and a stream has one continuation: use n=1, or no stream")
        if not self.sampling.guided:
            return
        if len(self.contrast) == 0:
            raise ValueError(
                "decoding='guided' needs a contrast context: give SampleRequest(..., contrast=...) to "
                "sample_batch, or use decoding='sample'"
            )
        check_finalists(self.finalists, self.sampling)


@dataclass(frozen=True)
class Sample:
    """One sampled continuation.

    Attributes:
        token_ids: the sampled tokens, with the end token if the model ended by itself.
        logprobs: the log-probability of each token in the model's unmodified distribution: before
            temperature, top-p, top-k and penalties; natural logarithm.
        text: the text of the tokens without control tokens, cut before a stop string.
        finish_reason: `"stop"` (an end token or a stop string), `"length"`, or `"rejected"`.
        contrast_logprobs: the log-probabilities in the request's `contrast`, if `finalists` or guided
            decoding read them.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    finish_reason: FinishReason
    contrast_logprobs: tuple[float, ...] | None = None


def check_finalists(finalists: int | None, sampling: SamplingParams) -> int | None:
    """Returns `finalists` if candidates that are sampled so can be rejected early.

    Raises:
        TypeError: the value is not an integer.
        ValueError: it is out of range, or given with guided decoding.
    """
    if finalists is None:
        return None
    if sampling.guided:
        raise ValueError(
            f"finalists={finalists} can't be combined with decoding='guided': leave finalists out, or use "
            "decoding='sample'"
        )
    return check_count(finalists, "finalists", MAX_CANDIDATES)
