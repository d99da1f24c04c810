"""The estimate against the tensors that are really allocated."""

from typing import Any

import pytest
import torch

from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.policies.policy import ScoreRequest
from icdpo_chains.policies.sampling import SampleRequest, SamplingParams
from icdpo_chains.policies.transformers import memory_estimate
from icdpo_chains.policies.transformers.memory_estimate import (
    MemoryEstimate,
    StateSize,
    sampling_bytes,
    scoring_bytes,
)
from icdpo_chains.policies.transformers.policy import TransformersPolicy

from ..conftest import tiny_policy
from .architectures import OLDER, tiny_model

CONTEXT = byte_tokenizer()("How much memory is it? ").input_ids
CPU = torch.device("cpu")


def estimate(model: Any) -> MemoryEstimate:
    return MemoryEstimate(model, lambda: True)


def test_the_cache_of_each_architecture_is_measured(policy: TransformersPolicy) -> None:
    # Two layers of keys and values of 12 numbers in four bytes; two heads, or four.
    heads = 4 if policy.model.config.model_type in ("gpt2", "gpt_neox") else 2
    sizes = estimate(policy.model)._measured()
    assert sizes == {CPU: StateSize(sizes[CPU].row, 2 * 2 * 12 * 4 * heads)}
    assert sizes[CPU].row < 64


@pytest.mark.skipif(OLDER, reason="transformers keeps no such cache of it")
def test_a_recurrent_layer_has_one_size_for_any_text() -> None:
    sizes = estimate(tiny_model("qwen3_next"))._measured()
    assert sizes[CPU].row > 1000


def test_an_architecture_that_can_not_be_measured_is_counted_in_rows(llama: TransformersPolicy) -> None:
    policy = TransformersPolicy(llama.model, llama.tokenizer)

    def fail(module: object, args: object, kwargs: object) -> None:
        raise ValueError("no such cache")

    hook = llama.model.register_forward_pre_hook(fail, with_kwargs=True)
    try:
        load = policy._portions._load([SampleRequest(CONTEXT, 4, SamplingParams())])
    finally:
        hook.remove()
    assert load.needed is None
    assert 0 < load.share < 1
    other = policy._portions._load([ScoreRequest(CONTEXT, [[1]] * 8)])
    assert other.share == 2 * load.share
    assert policy._portions.fitting([SampleRequest(CONTEXT, 4, SamplingParams())] * 64) == 64


def test_what_is_counted() -> None:
    size = StateSize(row=1000, token=10)
    sampling = SamplingParams(max_new_tokens=50)
    request = SampleRequest(range(100), 8, sampling)
    choosing = 24 * 7
    once = sampling_bytes([request], size, 7, shares=True, padded=False)
    assert once == (1000 + 2 * 100 * 10) + 8 * (1000 + 64 * 10 + choosing)
    # Candidates share the prompt; others have a copy each.
    assert sampling_bytes([request], size, 7, shares=False, padded=False) == once + 8 * 100 * 10
    # A second question has its own prompt, and the room of the longest answer.
    short = SampleRequest(range(20), 1, SamplingParams(max_new_tokens=5))
    both = sampling_bytes([request, short], size, 7, shares=True, padded=False)
    assert both == once + (1000 + 2 * 20 * 10) + (1000 + 64 * 10 + choosing)
    assert sampling_bytes([request, short], size, 7, shares=True, padded=True) == both + 80 * 10
    guided = SampleRequest(range(100), 8, SamplingParams(max_new_tokens=50, decoding="guided"), contrast=[1])
    more = sampling_bytes([guided], size, 7, shares=True, padded=False)
    assert more == once + (1000 + 2 * 10) + 8 * (1000 + 64 * 10 + choosing)
    score = ScoreRequest(range(100), [[1, 2], [3]])
    assert scoring_bytes([score], size, 7, shares=True) == 2 * 2000 + 2 * (1000 + 2 * 10) + 4 * 7 * 6
    assert sampling_bytes([], size, 7, shares=True, padded=True) == 0


def test_scores_are_computed_in_chunks() -> None:
    many = ScoreRequest([1], [[1] * 1000] * 1000)
    assert scoring_bytes([many], StateSize(0, 0), 100_000, shares=True) == 2**28 * 6


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_the_estimate_covers_the_cache_that_is_allocated(architecture: str) -> None:
    """Of the largest cache during a call, in bytes."""
    policy = tiny_policy(architecture)
    sampling = SamplingParams(max_new_tokens=40, min_new_tokens=40, seed=1)
    requests = [SampleRequest(CONTEXT, 5, sampling), SampleRequest(CONTEXT[:4], 2, sampling)]
    policy.sample_batch(requests)
    held = 0

    def look(module: object, args: object, kwargs: dict[str, Any], output: object) -> None:
        nonlocal held
        layers = kwargs["past_key_values"].layers
        tensors = [tensor for layer in layers for tensor in memory_estimate._tensors(vars(layer).values())]
        storages = {
            tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors
        }
        held = max(held, sum(storages.values()))

    hook = policy.model.register_forward_hook(look, with_kwargs=True)
    try:
        policy.sample_batch(requests)
    finally:
        hook.remove()
    needed = sampling_bytes(
        requests, estimate(policy.model)._measured()[CPU], 0, shares=policy._engine.shares, padded=False
    )
    assert 0.4 * needed < held <= needed


def test_a_full_device_decodes_fewer_rows_with_the_same_answers(
    llama: TransformersPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = TransformersPolicy(llama.model, llama.tokenizer)
    requests = [
        SampleRequest(CONTEXT[i:], n, SamplingParams(max_new_tokens=9, min_new_tokens=9, seed=i))
        for i, n in enumerate((3, 8, 1, 2))
    ]
    twins = llama.sample_batch(requests)
    needed = estimate(llama.model).load(requests).needed
    assert needed is not None
    batches: list[int] = []
    policy.on_batch = lambda requests, rows: batches.append(rows)
    read: list[int] = []
    hook = llama.model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    try:
        monkeypatch.setattr(memory_estimate, "free_bytes", lambda device: needed // 2)
        found = policy.sample_batch(requests)
        assert max(read) < 8
        assert batches == [3, 8, 3]
        monkeypatch.setattr(memory_estimate, "free_bytes", lambda device: 1)
        read.clear()
        least = policy.sample_batch(requests)
        assert max(read) == 1
        monkeypatch.setattr(memory_estimate, "free_bytes", lambda device: 2 * needed)
        batches.clear()
        policy.sample_batch(requests)
        assert batches == [14]
    finally:
        hook.remove()
    for samples in (found, least):
        assert [[one.token_ids for one in own] for own in samples] == [
            [one.token_ids for one in own] for own in twins
        ]


def test_a_model_on_several_devices_needs_room_on_each(
    llama: TransformersPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = estimate(llama.model)
    other = torch.device("cuda:1")
    ours._sizes = {CPU: StateSize(0, 10), other: StateSize(0, 10)}
    monkeypatch.setattr(memory_estimate, "free_bytes", lambda device: 10**6 if device == CPU else 10**5)
    load = ours.load([SampleRequest(CONTEXT, 4, SamplingParams())])
    assert (load.device, load.free) == ("cuda:1", 10**5)
    monkeypatch.setattr(memory_estimate, "free_bytes", lambda device: 10**6 if device == CPU else None)
    assert ours.load([SampleRequest(CONTEXT, 4, SamplingParams())]).device == "cpu"
