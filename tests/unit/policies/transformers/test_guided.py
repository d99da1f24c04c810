"""Guided decoding against its slow twin: two full forward passes without a cache at each token."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from icdpo_chains.errors import PolicyError
from icdpo_chains.policies.fake import FakePolicy, byte_tokenizer
from icdpo_chains.policies.sampling import Sample, SampleRequest, SamplingParams
from icdpo_chains.policies.token_choice import choose_tokens
from icdpo_chains.policies.transformers.engine import Engine
from icdpo_chains.policies.transformers.policy import TransformersPolicy

from ..conftest import tiny_policy

CONTEXT = byte_tokenizer()("Is every fast path as exact as its slow twin? ").input_ids
CONTRAST = byte_tokenizer()("Say something rude now: ").input_ids
SAMPLING = SamplingParams(max_new_tokens=16, seed=6, decoding="guided", min_new_tokens=3)


def request(sampling: SamplingParams = SAMPLING, n: int = 3) -> SampleRequest:
    return SampleRequest(CONTEXT, n, sampling, contrast=CONTRAST)


@torch.inference_mode()
def full_logprobs(policy: TransformersPolicy, ids: list[int]) -> torch.Tensor:
    logits = policy.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
    return logits.double().log_softmax(-1)


def slow(
    policy: TransformersPolicy, asked: SampleRequest, index: int
) -> tuple[list[int], list[float], list[float]]:
    """The candidate's tokens and their log-probabilities in both contexts, by the formula alone."""
    sampling = asked.sampling
    random = np.random.default_rng([sampling.seed or 0, index])
    ids: list[int] = []
    logprobs: list[float] = []
    contrasts: list[float] = []
    while len(ids) < sampling.max_new_tokens and not (ids and ids[-1] in policy.eos_token_ids):
        expert = full_logprobs(policy, [*asked.context, *ids])
        contrast = full_logprobs(policy, [*asked.contrast, *ids])
        allowed = [
            token
            for token in range(len(expert))
            if len(ids) >= sampling.min_new_tokens or token not in policy.eos_token_ids
        ]
        most = max(float(expert[token]) for token in allowed)
        scores = torch.full_like(expert, -math.inf)
        for token in allowed:
            if math.exp(expert[token]) >= sampling.alpha * math.exp(most):
                scores[token] = expert[token] + sampling.guidance * (expert[token] - contrast[token])
        token = int(
            choose_tokens(scores.float()[None], lambda _: [random.random(dtype=np.float32)], sampling)
        )
        ids.append(token)
        logprobs.append(float(expert[token]))
        contrasts.append(float(contrast[token]))
    return ids, logprobs, contrasts


def check(policy: TransformersPolicy, asked: SampleRequest, samples: list[Sample]) -> None:
    for index, sample in enumerate(samples):
        ids, logprobs, contrasts = slow(policy, asked, index)
        assert list(sample.token_ids) == ids
        assert sample.logprobs == pytest.approx(logprobs, abs=1e-4)
        assert sample.contrast_logprobs == pytest.approx(contrasts, abs=1e-4)


def test_each_kind_of_cache_agrees_with_two_passes_without_a_cache(policy: TransformersPolicy) -> None:
    asked = request()
    (samples,) = policy.sample_batch([asked])
    check(policy, asked, samples)


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 0},
        {"guidance": 2.5, "alpha": 0.5},
        {"alpha": 0, "guidance": 0.5},
        {"top_k": 4, "top_p": 1.0, "temperature": 0.7},
    ],
)
def test_each_option_agrees_with_its_twin(llama: TransformersPolicy, changes: dict[str, float]) -> None:
    asked = request(replace(SAMPLING, **changes))  # type: ignore[arg-type]
    (samples,) = llama.sample_batch([asked])
    check(llama, asked, samples)


def test_steps_of_a_fixed_shape_agree_with_the_twin() -> None:
    policy = tiny_policy("llama")
    policy._engine = Engine(policy.model, 0, 0, static=True)
    policy.eos_token_ids = frozenset(range(0, 256, 9)) | policy.eos_token_ids
    asked = request(replace(SAMPLING, min_new_tokens=0), n=8)
    (samples,) = policy.sample_batch([asked])
    check(policy, asked, samples)
    assert len({len(sample.token_ids) for sample in samples}) > 1


def test_guidance_changes_the_answer(llama: TransformersPolicy) -> None:
    (guided,) = llama.sample_batch([request()])
    plain = llama.sample(CONTEXT, 3, replace(SAMPLING, decoding="sample"))
    assert [sample.token_ids for sample in guided] != [sample.token_ids for sample in plain]


def test_with_beta_0_it_is_plain_sampling_and_the_contrast_is_not_read(policy: TransformersPolicy) -> None:
    read: list[list[int]] = []
    hook = policy.model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(kwargs["input_ids"][0].tolist()), with_kwargs=True
    )
    (samples,) = policy.sample_batch([request(replace(SAMPLING, guidance=0))])
    hook.remove()
    assert samples == policy.sample(CONTEXT, 3, replace(SAMPLING, decoding="sample"))
    assert all(sample.contrast_logprobs is None for sample in samples)
    assert CONTRAST not in read


def test_a_batch_gives_what_single_requests_give(policy: TransformersPolicy) -> None:
    requests = [
        request(),
        SampleRequest(CONTEXT[:9], 2, SamplingParams(max_new_tokens=12, seed=1)),
        SampleRequest(CONTEXT[3:], 4, replace(SAMPLING, guidance=0.5, max_new_tokens=9), contrast=[5, 7]),
        SampleRequest(CONTEXT, 4, SamplingParams(max_new_tokens=12, seed=3), finalists=2, contrast=CONTRAST),
    ]
    together = policy.sample_batch(requests)
    for asked, samples in zip(requests, together, strict=True):
        (alone,) = policy.sample_batch([asked])
        assert [sample.token_ids for sample in samples] == [sample.token_ids for sample in alone]
        for one, other in zip(samples, alone, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
            assert (one.contrast_logprobs is None) == (other.contrast_logprobs is None)
            assert one.contrast_logprobs is None or other.contrast_logprobs is not None
            assert one.contrast_logprobs == pytest.approx(other.contrast_logprobs, abs=1e-4)


def test_a_seed_reproduces_and_fewer_candidates_are_the_first_ones(llama: TransformersPolicy) -> None:
    (many,), (again,), (few,) = (llama.sample_batch([request(n=n)]) for n in (5, 5, 2))
    assert many == again
    assert [sample.token_ids for sample in few] == [sample.token_ids for sample in many[:2]]


def test_rows_that_end_leave_both_contexts(llama: TransformersPolicy) -> None:
    often = TransformersPolicy(llama.model, llama.tokenizer)
    often.eos_token_ids = frozenset(range(0, 256, 9)) | often.eos_token_ids
    asked = request(replace(SAMPLING, max_new_tokens=24, min_new_tokens=0), n=6)
    (samples,) = often.sample_batch([asked])
    assert len({len(sample.token_ids) for sample in samples}) > 1
    check(often, asked, samples)


def test_stop_strings_cut_both_sides(llama: TransformersPolicy) -> None:
    (plain,) = llama.sample_batch([request(n=6)])
    stop = plain[0].text[4:6] or "e"
    (samples,) = llama.sample_batch([request(replace(SAMPLING, stop=(stop,)), n=6)])
    assert samples[0].finish_reason == "stop"
    for sample in samples:
        (contrast,) = llama.logprobs(CONTRAST, [sample.token_ids])
        assert sample.contrast_logprobs == pytest.approx(contrast, abs=1e-4)


def test_a_minimum_length_holds_where_the_end_is_the_only_plausible_token(llama: TransformersPolicy) -> None:
    often = TransformersPolicy(llama.model, llama.tokenizer)
    (first,) = often.sample_batch([request(replace(SAMPLING, temperature=0, alpha=1.0), n=1)])
    often.eos_token_ids = often.eos_token_ids | {first[0].token_ids[3]}
    (samples,) = often.sample_batch([request(replace(SAMPLING, alpha=1.0, min_new_tokens=16), n=1)])
    assert len(samples[0].token_ids) == 16
    assert not set(samples[0].token_ids) & often.eos_token_ids


def test_a_repetition_penalty_applies_to_guided_scores(llama: TransformersPolicy) -> None:
    free = replace(SAMPLING, max_new_tokens=40, temperature=0)
    (plain,) = llama.sample_batch([request(free, n=1)])
    (penalized,) = llama.sample_batch([request(replace(free, repetition_penalty=20.0), n=1)])
    assert len(set(penalized[0].token_ids)) > len(set(plain[0].token_ids))
    (contrast,) = llama.logprobs(CONTRAST, [penalized[0].token_ids])
    assert penalized[0].contrast_logprobs == pytest.approx(contrast, abs=1e-4)


def test_a_contrast_that_is_too_long_is_refused(llama: TransformersPolicy) -> None:
    with pytest.raises(ValueError, match="exceed the 256 tokens"):
        llama.sample_batch([SampleRequest(CONTEXT, 1, SAMPLING, contrast=[5] * 250)])


def test_guided_decoding_needs_a_contrast(llama: TransformersPolicy) -> None:
    for policy in (llama, FakePolicy()):
        with pytest.raises(ValueError, match="needs a contrast context"):
            policy.sample(CONTEXT, 1, SAMPLING)


def test_guided_decoding_and_finalists_do_not_combine() -> None:
    with pytest.raises(ValueError, match="finalists=1 can't be combined"):
        SampleRequest(CONTEXT, 4, SAMPLING, finalists=1, contrast=CONTRAST)


def test_both_contexts_are_read_in_one_pass_a_token(llama: TransformersPolicy) -> None:
    shapes: list[tuple[int, ...]] = []
    hook = llama.model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    plain = SampleRequest(CONTEXT, 2, SamplingParams(max_new_tokens=16, min_new_tokens=16, seed=1))
    llama.sample_batch([plain, request(replace(SAMPLING, min_new_tokens=16))])
    hook.remove()
    # Two rows that are not guided, three that are, and three contrast rows.
    assert [shape for shape in shapes if shape[1] == 1] == [(8, 1)] * 15


def test_a_contrast_without_numbers_is_an_error() -> None:
    policy = tiny_policy("llama")
    weights = policy.model.get_input_embeddings().weight
    with torch.no_grad():
        weights[CONTRAST[0]] = torch.nan
    asked = SampleRequest([1, 2, 3], 2, SAMPLING, contrast=CONTRAST)
    with pytest.raises(PolicyError, match="load it with dtype='float32'"):
        policy.sample_batch([asked])
