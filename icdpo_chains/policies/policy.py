"""`Policy`: what a language model has to do for ICDPO. Token ids in and out, text never."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from icdpo_chains.policies.sampling import Sample, SampleRequest, SamplingParams

__all__ = ["BatchPolicy", "Policy", "check_fits"]


@runtime_checkable
class Policy(Protocol):
    """A language model that samples and scores token ids. Implementations are thread-safe.

    Attributes:
        name: what the model is called in results.
        tokenizer: its Hugging Face tokenizer.
        eos_token_ids: the ids at which it ends an answer.
        max_context: the most tokens that context and answer may have together; `None` for no limit.
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
            n: how many, from 1 to `MAX_CANDIDATES`.
            sampling: how; with a seed the result is reproducible, and a smaller n gives the first of them.

        Raises:
            ValueError: an empty context, one that leaves no room for `max_new_tokens`, or guided decoding,
                which needs a contrast context (see `BatchPolicy`).
        """
        ...

    def logprobs(self, context: Sequence[int], continuations: Sequence[Sequence[int]]) -> list[list[float]]:
        """Returns log pi(token | context, earlier tokens of the continuation), for each token of each.

        Args:
            context: token ids, at least one.
            continuations: token ids; an empty one gives an empty list.

        Raises:
            ValueError: an empty context, or a continuation that does not fit behind it.
        """
        ...


@runtime_checkable
class BatchPolicy(Policy, Protocol):
    """A policy that samples for several contexts together; one that does not is asked one by one."""

    def sample_batch(self, requests: Sequence[SampleRequest]) -> list[list[Sample]]:
        """Samples for several contexts; equal to one `sample` each.

        Args:
            requests: the contexts, and what is sampled for each.

        Raises:
            ValueError: as `sample`, or guided decoding by a policy that can't do it; then nothing is sampled.
        """
        ...


def check_fits(policy: Policy, context: Sequence[int], new_tokens: int) -> None:
    """Checks that a policy can read a context and go on from it.

    Args:
        policy: its `max_context` counts.
        context: token ids.
        new_tokens: how many follow at most.

    Raises:
        ValueError: the context is empty, or leaves no room for them.
    """
    if len(context) == 0:
        raise ValueError("the context is empty: a model needs at least one token to go on from")
    if policy.max_context is not None and len(context) + new_tokens > policy.max_context:
        raise ValueError(
            f"{len(context)} tokens of context and {new_tokens} new ones exceed the {policy.max_context} "
            f"tokens that {policy.name} can read: shorten the context or ask for fewer"
        )
