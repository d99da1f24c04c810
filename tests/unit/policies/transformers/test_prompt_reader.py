"""Prompts that are read in one pass against prompts that are read one by one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.policies.policy import ScoreRequest
from icdpo_chains.policies.sampling import SampleRequest, SamplingParams
from icdpo_chains.policies.transformers import prompt_reader
from icdpo_chains.policies.transformers.branches import Prompt
from icdpo_chains.policies.transformers.engine import Engine
from icdpo_chains.policies.transformers.policy import TransformersPolicy
from icdpo_chains.policies.transformers.prompt_reader import PromptReader

from ..conftest import tiny_policy

TEXT = byte_tokenizer()("Are several prompts that are read in one pass what they are alone? " * 4).input_ids
# Two prompts are equal, one is a single token, one is the beginning of another.
CONTEXTS = [TEXT[:40], TEXT[7:18], [9], TEXT[:40], TEXT[:13], TEXT[20:75]]
# Different lengths behind a beginning of 130 tokens.
BEGINNING = TEXT[3:133]
BEHIND = [[*BEGINNING, *some] for some in ([7], TEXT[:20], TEXT[30:41])]


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_reader, "_LONG_BLOCK", 128)


@contextmanager
def shapes(model: Any) -> Iterator[list[tuple[int, int]]]:
    """The rows and the tokens of each pass."""
    seen: list[tuple[int, int]] = []
    hook = model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    try:
        yield seen
    finally:
        hook.remove()


def reader(policy: TransformersPolicy, most_prefixes: int = 0, *, together: bool = True) -> PromptReader:
    return PromptReader(policy.model, most_prefixes, 2**26, together=together)


@torch.inference_mode()
def read(ours: PromptReader, contexts: Sequence[Sequence[int]]) -> list[Prompt]:
    return ours.read(contexts, shared=True)


def check(prompts: list[Prompt], twins: list[Prompt], tolerance: float = 1e-4) -> None:
    for prompt, twin in zip(prompts, twins, strict=True):
        assert prompt.length == twin.length
        torch.testing.assert_close(prompt.logits, twin.logits, atol=tolerance, rtol=0)
        for layer, other in zip(prompt.cache.layers, twin.cache.layers, strict=True):
            torch.testing.assert_close(layer.keys, other.keys, atol=tolerance, rtol=0)
            torch.testing.assert_close(layer.values, other.values, atol=tolerance, rtol=0)


@pytest.mark.parametrize("contexts", [CONTEXTS, BEHIND], ids=["different", "alike"])
def test_prompts_equal_the_twin(policy: TransformersPolicy, contexts: list[list[int]]) -> None:
    with shapes(policy.model) as seen:
        prompts = read(reader(policy), contexts)
    check(prompts, read(reader(policy, together=False), contexts))
    windowed = policy.model.config.model_type in ("mistral", "gemma2", "gemma3_text")
    assert (max(rows for rows, _ in seen) == 1) == windowed


def test_passes_are_bounded_and_hold_prompts_of_about_one_length(
    llama: TransformersPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_reader, "_MOST_TOKENS", 60)
    ours = reader(llama)
    read(ours, CONTEXTS[:2])  # tries whether prompts can be read together
    with shapes(llama.model) as seen:
        prompts = read(ours, CONTEXTS)
    assert seen == [(3, 13), (1, 40), (1, 40), (1, 55)]
    check(prompts, read(reader(llama, together=False), CONTEXTS))


def test_a_common_beginning_is_read_once_and_kept(llama: TransformersPolicy) -> None:
    ours = reader(llama, 2**26)
    read(ours, CONTEXTS[:2])
    for first in ([(1, 128)], []):
        with shapes(llama.model) as seen:
            prompts = read(ours, BEHIND)
        assert seen == [*first, (3, 22)]
        check(prompts, read(reader(llama, together=False), BEHIND))


def test_a_device_reads_long_blocks(llama: TransformersPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_reader, "_LONG_BLOCK", 144)
    ours = reader(llama, 2**26)
    for expected in ([(1, 144), (1, 56)], [(1, 56)]):
        with shapes(llama.model) as seen:
            prompts = read(ours, [TEXT[:200]])
        assert seen == expected
        check(prompts, read(reader(llama, together=False), [TEXT[:200]]))
    with shapes(llama.model) as seen:
        read(reader(llama, 2**26, together=False), [TEXT[:200]])
    assert seen == [(1, 128), (1, 72)]


def test_the_last_bits_do_not_depend_on_earlier_calls(llama: TransformersPolicy) -> None:
    ours = reader(llama, 2**26)
    before = read(ours, BEHIND)
    read(ours, [[*BEHIND[1], *TEXT[:140]]])
    read(ours, [BEHIND[2], *CONTEXTS])
    check(read(ours, BEHIND), before, tolerance=0)
    check(read(reader(llama), BEHIND), before, tolerance=0)


def test_models_that_return_all_logits(llama: TransformersPolicy) -> None:
    ours = reader(llama)
    ours._takes_logits_to_keep = False
    check(read(ours, CONTEXTS), read(reader(llama, together=False), CONTEXTS))


def test_a_model_of_other_logits_reads_one_by_one_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    """It takes the last token of a row for padding."""
    policy = tiny_policy("llama")
    twins = read(reader(policy, together=False), CONTEXTS)

    def pad(module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        ids = kwargs["input_ids"]
        return args, {**kwargs, "input_ids": ids if len(ids) == 1 else ids.index_fill(1, torch.tensor(0), 5)}

    policy.model.register_forward_pre_hook(pad, with_kwargs=True)
    ours = reader(policy)
    for _ in range(2):
        check(read(ours, CONTEXTS), twins)
    assert caplog.text.count("read one after the other") == 1


@pytest.mark.parametrize("static", [True, False])
def test_samples_and_scores_equal_the_twin(llama: TransformersPolicy, static: bool) -> None:
    ours = TransformersPolicy(llama.model, llama.tokenizer)
    ours._engine = Engine(llama.model, 0, 2**26, static=True)
    ours._engine._scores_together = True
    ours._engine._static = static  # a model that can't be recorded
    sampling = SamplingParams(max_new_tokens=12, seed=3)
    guided = SamplingParams(max_new_tokens=12, seed=3, decoding="guided")
    requests = [
        *(SampleRequest(context, 2, sampling) for context in [*CONTEXTS, *BEHIND]),
        *(SampleRequest(context, 2, guided, contrast=TEXT[5:30]) for context in CONTEXTS[:2]),
        SampleRequest(TEXT[:9], 4, sampling, finalists=1, contrast=TEXT[30:50]),
        SampleRequest(TEXT[:7], 4, sampling, finalists=2, contrast=TEXT[30:45]),
    ]
    sampled = ours.sample_batch(requests)
    for samples, twins in zip(sampled, llama.sample_batch(requests), strict=True):
        for sample, twin in zip(samples, twins, strict=True):
            assert (sample.token_ids, sample.finish_reason) == (twin.token_ids, twin.finish_reason)
            assert sample.logprobs == pytest.approx(twin.logprobs, abs=1e-4)
            assert sample.contrast_logprobs == (
                None if twin.contrast_logprobs is None else pytest.approx(twin.contrast_logprobs, abs=1e-4)
            )
    scored = [
        ScoreRequest(context, [sample.token_ids for sample in samples])
        for context, samples in zip([*CONTEXTS, *BEHIND], sampled, strict=False)
    ]
    for rows, twins in zip(ours.logprobs_batch(scored), llama.logprobs_batch(scored), strict=True):
        for row, twin in zip(rows, twins, strict=True):
            assert row == pytest.approx(twin, abs=1e-4)


def test_a_cpu_reads_one_by_one(llama: TransformersPolicy) -> None:
    with shapes(llama.model) as seen:
        llama.sample_batch([SampleRequest(TEXT[i:20], 1, SamplingParams(max_new_tokens=1)) for i in range(3)])
    assert {rows for rows, _ in seen} == {1}
