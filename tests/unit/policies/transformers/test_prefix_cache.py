"""Beginnings that are known are not read again, and the results are the same to the last bit."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from icdpo_chains.policies.sampling import SampleRequest, SamplingParams
from icdpo_chains.policies.transformers.policy import TransformersPolicy
from icdpo_chains.policies.transformers.prefix_cache import BLOCK, PrefixCache

from ..conftest import tiny_policy

SAMPLING = SamplingParams(max_new_tokens=6, min_new_tokens=6, seed=3)


@pytest.fixture
def long_policy() -> TransformersPolicy:
    policy = tiny_policy("llama")
    policy.max_context = None  # rotary positions go on beyond what the configuration says
    return policy


def context(length: int, *, seed: int = 0) -> list[int]:
    return torch.randint(0, 256, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


@contextmanager
def counted(policy: TransformersPolicy) -> Iterator[list[int]]:
    """How many tokens of prompts are read, pass by pass."""
    read: list[int] = []

    def count(module: object, args: object, kwargs: dict[str, Any]) -> None:
        if kwargs["input_ids"].shape[1] > 1:
            read.append(kwargs["input_ids"].shape[1])

    hook = policy.model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield read
    finally:
        hook.remove()


def test_a_prompt_that_begins_alike_reads_what_is_new_alone(long_policy: TransformersPolicy) -> None:
    first = context(3 * BLOCK + 20)
    second = first[: 2 * BLOCK + 50] + context(60, seed=1)
    without = TransformersPolicy(long_policy.model, long_policy.tokenizer, prefix_cache=0)
    without.max_context = None
    expected = [without.sample(ids, 3, SAMPLING) for ids in (first, second)]
    with counted(long_policy) as read:
        cold = long_policy.sample(first, 3, SAMPLING)
        cold_reads = [count for count in read if count > 12]  # the first call tries a few tokens
        read.clear()
        warm = long_policy.sample(first, 3, SAMPLING)
        other = long_policy.sample(second, 3, SAMPLING)
    assert cold_reads == [BLOCK, BLOCK, BLOCK, 20]
    assert read == [20, 110]
    assert warm == cold, "the same to the last bit"
    for samples, slow in zip((cold, other), expected, strict=True):
        assert [sample.token_ids for sample in samples] == [sample.token_ids for sample in slow]
        for sample, twin in zip(samples, slow, strict=True):
            assert sample.logprobs == pytest.approx(twin.logprobs, abs=1e-4)
    fresh = tiny_policy("llama")
    fresh.max_context = None
    assert fresh.sample(second, 3, SAMPLING) == other, "the same to the last bit"


def test_scoring_and_batches_use_it_too(long_policy: TransformersPolicy) -> None:
    shared = context(2 * BLOCK)
    contexts = [shared + context(9, seed=i) for i in range(1, 4)]
    long_policy.sample(context(5), 1, SAMPLING)
    with counted(long_policy) as read:
        long_policy.sample_batch([SampleRequest(ids, 2, SAMPLING) for ids in contexts])
        assert read == [BLOCK, BLOCK, 9, 9, 9]
        read.clear()
        one = long_policy.logprobs(contexts[0], [[1, 2, 3], [4, 5]])
        assert read == [9, 2]
    without = TransformersPolicy(long_policy.model, long_policy.tokenizer, prefix_cache=0)
    without.max_context = None
    for row, twin in zip(one, without.logprobs(contexts[0], [[1, 2, 3], [4, 5]]), strict=True):
        assert row == pytest.approx(twin, abs=1e-4)


@pytest.mark.parametrize("length", [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK])
def test_the_last_token_is_always_read(long_policy: TransformersPolicy, length: int) -> None:
    ids = context(length)
    assert long_policy.sample(ids, 2, SAMPLING) == long_policy.sample(ids, 2, SAMPLING)


def test_the_memory_is_bounded_and_the_oldest_go_first(long_policy: TransformersPolicy) -> None:
    long_policy.sample(context(2 * BLOCK + 1), 1, SAMPLING)
    block = long_policy._engine._reader._prefixes.size // 2
    small = TransformersPolicy(long_policy.model, long_policy.tokenizer, prefix_cache=3 * block)
    small.max_context = None
    first, second = context(2 * BLOCK + 1), context(2 * BLOCK + 1, seed=1)
    for ids in (first, second):
        small.sample(ids, 1, SAMPLING)
        assert small._engine._reader._prefixes.size <= 3 * block
    with counted(small) as read:
        small.sample(second, 1, SAMPLING)
        assert read == []  # one token, which is not counted
        small.sample(first, 1, SAMPLING)
    # Its second block went before the first one, without which it could not have been found.
    assert read == [BLOCK]


def test_models_whose_layers_forget_read_all(policy: TransformersPolicy) -> None:
    ids = context(BLOCK + 30)
    assert policy.sample(ids, 2, SAMPLING) == policy.sample(ids, 2, SAMPLING)


def test_it_can_be_turned_off(long_policy: TransformersPolicy) -> None:
    off = TransformersPolicy(long_policy.model, long_policy.tokenizer, prefix_cache=0)
    off.max_context = None
    off.sample([1], 1, SAMPLING)
    with counted(off) as read:
        off.sample(context(BLOCK + 40), 1, SAMPLING)
        off.sample(context(BLOCK + 40), 1, SAMPLING)
    assert read == [BLOCK + 40] * 2
    assert PrefixCache(0).size == 0
    with pytest.raises(ValueError, match="prefix_cache is -1"):
        TransformersPolicy(long_policy.model, long_policy.tokenizer, prefix_cache=-1)
