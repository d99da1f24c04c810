"""`Policy`: the protocol of a language model. Token ids go in and out; text never does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from icdpo_chains.policies.sampling import Sample, SampleRequest, SamplingParams

__all__ = [
    "BatchPolicy",
    "BatchScoringPolicy",
    "Policy",
    "ScoreRequest",
    "check_fits",
    "logprobs_of_all",
    "sampled",
]


@runtime_checkable
class Policy(Protocol):
    """A language model that samples and scores token ids. Implementations are thread-safe.

    Attributes:
        name: the model's name in results.
        tokenizer: the model's Hugging Face tokenizer.
        eos_token_ids: the ids that end an answer.
        max_context: the maximum number of tokens of context and answer together; `None` for no limit.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def tokenizer(self) -> Any: ...  # noqa: D102
    @property
    def eos_token_ids(self) -> frozenset[int]: ...  # noqa: D102
    @property
    def max_context(self) -> int | None: ...  # noqa: D102

    def sample(self, context: Sequence[int], n: int, sampling: SamplingParams) -> list[Sample]:
        """Samples n continuations of a context.

        Args:
            context: token ids, at least one.
            n: the number of continuations, from 1 to `MAX_CANDIDATES`.
            sampling: the sampling parameters. A seed makes the result reproducible, and a smaller n gives the
                first continuations of a larger n.

        Raises:
            ValueError: the context is empty or leaves no room for `max_new_tokens`, or the decoding is
                guided, which needs a contrast context (see `BatchPolicy`).
        """
        ...

    def logprobs(self, context: Sequence[int], continuations: Sequence[Sequence[int]]) -> list[list[float]]:
        """Returns log pi(token | context, earlier tokens of the continuation), for each token of each.

        Args:
            context: token ids, at least one.
            continuations: token ids; an empty continuation gives an empty list.

        Raises:
            ValueError: the context is empty, or a continuation does not fit after it.
        """
        ...


@runtime_checkable
class BatchPolicy(Policy, Protocol):
    """A policy that samples for several contexts together. Other policies are called once per context."""

    def sample_batch(self, requests: Sequence[SampleRequest]) -> list[list[Sample]]:
        """Samples for several contexts; the results equal those of `sample` for each.

        Args:
            requests: the contexts, and the continuations to sample for each.

        Raises:
            ValueError: see `sample`; or the policy can't do guided decoding. Nothing is sampled then.
        """
        ...


@dataclass(frozen=True)
class ScoreRequest:
    """A request for the log-probabilities of continuations of a context.

    Attributes:
        context: token ids, at least one.
        continuations: token ids; an empty continuation gives an empty list.
    """

    context: Sequence[int]
    continuations: Sequence[Sequence[int]]


@runtime_checkable
class BatchScoringPolicy(Policy, Protocol):
    """A policy that scores continuations of several contexts together."""

    def logprobs_batch(self, requests: Sequence[ScoreRequest]) -> list[list[list[float]]]:
        """Returns the log-probabilities of several requests; the results equal those of `logprobs` for each.

        Args:
            requests: the contexts and their continuations.

        Raises:
            ValueError: see `logprobs`. Nothing is computed then.
        """
        ...


def logprobs_of_all(policy: Policy, requests: Sequence[ScoreRequest]) -> list[list[list[float]]]:
    """Scores continuations of several contexts: together if the policy is a `BatchScoringPolicy`.

    Args:
        policy: the policy.
        requests: the contexts and their continuations.

    Raises:
        ValueError: see `Policy.logprobs`.
    """
    if isinstance(policy, BatchScoringPolicy):
        return policy.logprobs_batch(requests)
    return [policy.logprobs(one.context, one.continuations) for one in requests]


def sampled(policy: Policy, requests: Sequence[SampleRequest]) -> list[list[Sample]]:
    """Samples for several contexts: together if the policy is a `BatchPolicy`, otherwise one after the other.

    Args:
        policy: the policy. Its attribute `closes_thoughts` says whether it carries out `max_thinking_tokens`.
        requests: the contexts, and the continuations to sample for each.

    Raises:
        ValueError: the policy can't sample as a request demands.
    """
    limited = any(request.sampling.max_thinking_tokens is not None for request in requests)
    if limited and not getattr(policy, "closes_thoughts", False):
        raise ValueError(
            f"max_thinking_tokens needs a policy that can close a thought, and {policy.name} can't: leave it "
            "out, or limit the thought where the model runs"
        )
    if isinstance(policy, BatchPolicy):
        return policy.sample_batch(requests)
    if any(request.sampling.guided for request in requests):
        raise ValueError(
            f"decoding='guided' needs a policy that reads two contexts, and {policy.name} has one: give it a "
            "sample_batch (see BatchPolicy), or use decoding='sample'"
        )
    return [policy.sample(one.context, one.n, one.sampling) for one in requests]


def check_fits(policy: Policy, context: Sequence[int], new_tokens: int) -> None:
    """Checks that a policy can read a context and continue it.

    Args:
        policy: the policy with its `max_context`.
        context: token ids.
        new_tokens: the maximum number of tokens that follow.

    Raises:
        ValueError: the context is empty, or leaves no room for the tokens.
    """
    if len(context) == 0:
        raise ValueError("the context is empty: a model needs at least one token to continue")
    if policy.max_context is not None and len(context) + new_tokens > policy.max_context:
        raise ValueError(
            f"{len(context)} tokens of context and {new_tokens} new ones exceed the {policy.max_context} "
            f"tokens that {policy.name} can read: shorten the context or ask for fewer"
        )
