"""Steps of a fixed shape against today's steps. A CPU runs the same code as a GPU, but without a recorded step."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.policies.sampling import Sample, SampleRequest, SamplingParams
from icdpo_chains.policies.transformers import static_decoding
from icdpo_chains.policies.transformers.cuda_graph import CaptureError
from icdpo_chains.policies.transformers.engine import Engine
from icdpo_chains.policies.transformers.policy import TransformersPolicy

from ..conftest import tiny_policy
from ..waits import Waits
from .architectures import OLDER

CONTEXT = byte_tokenizer()("Is a step of a fixed shape as exact as its slow twin? ").input_ids


def static(policy: TransformersPolicy) -> TransformersPolicy:
    """The same model, with steps of a fixed shape."""
    twin = TransformersPolicy(policy.model, policy.tokenizer)
    twin._engine = Engine(policy.model, 0, 0, static=True)
    return twin


def tried(policy: TransformersPolicy) -> TransformersPolicy:
    """The same, after the trials of steps of a fixed shape and of prompts in one pass."""
    twin = static(policy)
    twin.sample_batch([SampleRequest(CONTEXT, 1, SamplingParams(max_new_tokens=2))] * 2)
    return twin


def check(samples: list[Sample], twins: list[Sample]) -> None:
    for sample, twin in zip(samples, twins, strict=True):
        assert (sample.token_ids, sample.text) == (twin.token_ids, twin.text)
        assert sample.finish_reason == twin.finish_reason
        assert sample.logprobs == pytest.approx(twin.logprobs, abs=1e-4)


REQUESTS = [
    SampleRequest(CONTEXT, 3, SamplingParams(max_new_tokens=30, seed=1)),
    SampleRequest(CONTEXT[:5], 1, SamplingParams(max_new_tokens=24, seed=2, temperature=0.7)),
    SampleRequest(CONTEXT[2:30], 4, SamplingParams(max_new_tokens=12, seed=3, top_k=5, min_new_tokens=9)),
    SampleRequest([7], 2, SamplingParams(max_new_tokens=20, seed=1, repetition_penalty=1.3, stop=("e",))),
    SampleRequest(CONTEXT[:5], 2, SamplingParams(max_new_tokens=30, seed=2, temperature=0)),
    SampleRequest(CONTEXT[9:], 9, SamplingParams(max_new_tokens=17, seed=6, temperature=1.5, top_p=1.0)),
]


def test_many_prompts_equal_the_twin(policy: TransformersPolicy) -> None:
    """Different lengths, n, temperatures, limits, stop strings and penalties."""
    ours = static(policy)
    for samples, twins in zip(ours.sample_batch(REQUESTS), policy.sample_batch(REQUESTS), strict=True):
        check(samples, twins)
    # Mistral has a window that only the shortest text fits into. The others have soft caps, or can't share.
    assert ours._engine._static_tried == (
        policy.model.config.model_type in ("llama", "qwen3", "gpt2", "gpt_neox", "mistral")
    )
    assert ours._engine._static


@pytest.mark.parametrize("fixed", [True, False])
def test_a_text_that_fills_the_context_beside_longer_answers(policy: TransformersPolicy, fixed: bool) -> None:
    """A finished row is padded, and a table of positions (GPT-2) has none behind the context."""

    def lengths(new: int) -> SamplingParams:
        return SamplingParams(max_new_tokens=new, min_new_tokens=new, seed=new)

    full, short = (CONTEXT * 5)[:253], CONTEXT[:9]
    requests = [
        SampleRequest(full, 2, lengths(3)),
        SampleRequest(short, 3, lengths(40)),
        SampleRequest(full, 1, replace(lengths(3), decoding="guided"), contrast=full[1:]),
        SampleRequest(short, 1, replace(lengths(40), decoding="guided"), contrast=short[1:]),
        SampleRequest(full, 4, lengths(3), finalists=2, contrast=full[1:]),
        SampleRequest(short, 4, lengths(40), finalists=2, contrast=short[1:]),
    ]
    alone = [policy.sample_batch([request])[0] for request in requests]
    ours = static(policy) if fixed else policy
    for samples, twins in zip(ours.sample_batch(requests), alone, strict=True):
        check(samples, twins)
        for sample, twin in zip(samples, twins, strict=True):
            assert sample.contrast_logprobs == pytest.approx(twin.contrast_logprobs, abs=1e-4)


@pytest.mark.parametrize("n", [1, 8])
def test_one_prompt_equals_the_twin(llama: TransformersPolicy, n: int) -> None:
    sampling = SamplingParams(max_new_tokens=60, seed=4, temperature=1.2)
    check(static(llama).sample(CONTEXT, n, sampling), llama.sample(CONTEXT, n, sampling))


def test_a_longer_answer_gets_more_room(llama: TransformersPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_decoding, "_ROOM", 8)
    sampling = SamplingParams(max_new_tokens=150, min_new_tokens=150, seed=4)
    requests = [SampleRequest(CONTEXT, 3, sampling), SampleRequest(CONTEXT[:20], 2, sampling)]
    for samples, twins in zip(
        static(llama).sample_batch(requests), llama.sample_batch(requests), strict=True
    ):
        check(samples, twins)


def test_finished_rows_leave_when_half_have_finished(llama: TransformersPolicy) -> None:
    shapes: list[int] = []
    hook = llama.model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    lengths = (3, 5, 7, 9, 11, 13)
    requests = [
        SampleRequest(CONTEXT[i:], 1, SamplingParams(max_new_tokens=k, min_new_tokens=k, seed=i))
        for i, k in enumerate(lengths)
    ]
    ours = tried(llama)
    shapes.clear()
    try:
        samples = ours.sample_batch(requests)
    finally:
        hook.remove()
    assert [len(own[0].token_ids) for own in samples] == list(lengths)
    # The prompts in one pass, then six rows until three have ended, three until two have.
    assert shapes == [6] + [6] * 6 + [3] * 4 + [1] * 2


@pytest.mark.skipif(OLDER, reason="transformers itself moves tensors in each step")
def test_a_step_waits_once(llama: TransformersPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole loop, the model's own step included: it could not be recorded otherwise."""
    same = {"max_new_tokens": 24, "min_new_tokens": 24}
    requests = [
        SampleRequest(
            CONTEXT, 3, SamplingParams(**same, seed=1, repetition_penalty=1.2, stop=("never seen",))
        ),
        SampleRequest(CONTEXT[:9], 2, SamplingParams(**same, temperature=0.7)),
        SampleRequest(CONTEXT[2:], 2, SamplingParams(**same, top_k=5, top_p=1.0)),
        SampleRequest(CONTEXT[3:], 1, SamplingParams(**same, temperature=0)),
        SampleRequest(CONTEXT, 2, SamplingParams(**same, decoding="guided"), contrast=CONTEXT[:20]),
    ]
    ours = tried(llama)
    read = static_decoding.StaticBranches.read
    seen: list[tuple[dict[str, int], int]] = []

    def count(self: static_decoding.StaticBranches, ids: torch.Tensor) -> torch.Tensor:
        logits = read(self, ids)
        seen.append((dict(waits.to_host), waits.to_device))
        waits.clear()
        return logits

    monkeypatch.setattr(static_decoding.StaticBranches, "read", count)
    with Waits() as waits:
        ours.sample_batch(requests)
    assert seen[1:] == [({"cpu": 1}, 0)] * 22


def test_early_rejection_equals_the_twin(llama: TransformersPolicy) -> None:
    sampling = SamplingParams(max_new_tokens=32, seed=6)
    request = SampleRequest(CONTEXT, 9, sampling, finalists=2, contrast=CONTEXT[20:])
    (samples,), (twins,) = static(llama).sample_batch([request]), llama.sample_batch([request])
    check(samples, twins)
    assert sum(sample.finish_reason == "rejected" for sample in samples) > 0
    for sample, twin in zip(samples, twins, strict=True):
        assert sample.contrast_logprobs == pytest.approx(twin.contrast_logprobs, abs=1e-4)


def test_what_is_cancelled_ends(llama: TransformersPolicy) -> None:
    cancelled = threading.Event()
    sampling = SamplingParams(max_new_tokens=12, min_new_tokens=12, seed=1)
    ours = tried(llama)
    expected = ours.sample(CONTEXT, 2, sampling)
    steps: list[int] = []

    def count(module: object, args: object, kwargs: dict[str, Any]) -> None:
        steps.append(len(kwargs["input_ids"]))
        if len(steps) == 3:
            cancelled.set()

    requests = [SampleRequest(CONTEXT, 1, sampling, cancelled), SampleRequest(CONTEXT, 2, sampling)]
    hook = llama.model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        taken_back, others = ours._engine.sample(requests, llama.eos_token_ids, llama.tokenizer)
    finally:
        hook.remove()
    assert len(taken_back[0].token_ids) == 3
    check(others, expected)


def test_a_seed_reproduces_and_a_smaller_n_gives_the_first(llama: TransformersPolicy) -> None:
    ours, sampling = static(llama), SamplingParams(max_new_tokens=25, seed=9)
    first = ours.sample(CONTEXT, 8, sampling)
    assert ours.sample(CONTEXT, 8, sampling) == first
    check(ours.sample(CONTEXT, 3, sampling), first[:3])
    assert ours.sample(CONTEXT, 1, replace(sampling, seed=10))[0] != first[0]


def test_an_architecture_of_changing_steps_falls_back_and_says_so_once(
    llama: TransformersPolicy, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object) -> None:
        raise CaptureError("a step waits for the host")

    monkeypatch.setattr(static_decoding.StaticBranches, "_step", fail)
    ours, sampling = static(llama), SamplingParams(max_new_tokens=9, seed=2)
    for _ in range(2):
        check(ours.sample(CONTEXT, 3, sampling), llama.sample(CONTEXT, 3, sampling))
    assert caplog.text.count("can't be recorded as a CUDA graph") == 1


def test_a_step_that_can_not_be_recorded_in_the_middle_of_a_call_falls_back(
    llama: TransformersPolicy, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, sampling = static(llama), SamplingParams(max_new_tokens=9, seed=2)
    ours.sample(CONTEXT, 1, sampling)
    read: Callable[..., torch.Tensor] = static_decoding.StaticBranches.read
    calls: list[int] = []

    def fail_later(self: static_decoding.StaticBranches, ids: torch.Tensor) -> torch.Tensor:
        calls.append(len(ids))
        if len(calls) == 3:
            raise CaptureError("a step waits for the host")
        return read(self, ids)

    monkeypatch.setattr(static_decoding.StaticBranches, "read", fail_later)
    check(ours.sample(CONTEXT, 3, sampling), llama.sample(CONTEXT, 3, sampling))
    assert caplog.text.count("can't be recorded as a CUDA graph") == 1


def test_a_cpu_keeps_its_faster_steps() -> None:
    assert tiny_policy("llama")._engine._static is False
