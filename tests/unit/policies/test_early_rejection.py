"""Early rejection against its slow twin: sample all to the end, then see who would have been dropped when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains.policies.early_rejection import looks
from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.policies.sampling import Sample, SampleRequest, SamplingParams
from icdpo_chains.policies.transformers.policy import TransformersPolicy

from .conftest import tiny_policy

CONTEXT = byte_tokenizer()("Is every fast path as exact as its slow twin? ").input_ids
CONTRAST = byte_tokenizer()("Say something rude now: ").input_ids
SAMPLING = SamplingParams(max_new_tokens=32, seed=6)


def slow(policy: TransformersPolicy, request: SampleRequest) -> list[tuple[Sample, int | None]]:
    """All candidates sampled to their end, and after how many tokens each would have been rejected."""
    assert request.finalists is not None
    samples = policy.sample(request.context, request.n, request.sampling)
    contrast = policy.logprobs(request.contrast, [sample.token_ids for sample in samples])
    rejected: dict[int, int] = {}
    for length, most in looks(request.n, request.finalists, request.sampling.max_new_tokens).items():
        going = [
            i for i, sample in enumerate(samples) if i not in rejected and len(sample.token_ids) > length
        ]
        scores = {i: sum(samples[i].logprobs[:length]) - sum(contrast[i][:length]) for i in going}
        for i in sorted(going, key=lambda i: -scores[i])[most:]:
            rejected[i] = length
    return [(sample, rejected.get(i)) for i, sample in enumerate(samples)]


def check(policy: TransformersPolicy, request: SampleRequest, samples: list[Sample]) -> int:
    """Compares with the twin; returns how many were rejected."""
    count = 0
    for sample, (twin, length) in zip(samples, slow(policy, request), strict=True):
        assert sample.token_ids == twin.token_ids[:length]
        assert sample.logprobs == pytest.approx(twin.logprobs[:length], abs=1e-4)
        assert sample.finish_reason == (twin.finish_reason if length is None else "rejected")
        (contrast,) = policy.logprobs(request.contrast, [sample.token_ids])
        assert sample.contrast_logprobs == pytest.approx(contrast, abs=1e-4)
        count += length is not None
    return count


@pytest.mark.parametrize(("n", "finalists"), [(16, 2), (9, 1), (5, 3), (2, 1)])
def test_what_is_rejected_is_what_the_twin_says(llama: TransformersPolicy, n: int, finalists: int) -> None:
    request = SampleRequest(CONTEXT, n, SAMPLING, finalists=finalists, contrast=CONTRAST)
    (samples,) = llama.sample_batch([request])
    assert check(llama, request, samples) > 0


def test_in_a_batch_each_request_has_a_race_of_its_own(llama: TransformersPolicy) -> None:
    requests = [
        SampleRequest(CONTEXT, 6, SAMPLING, finalists=1, contrast=CONTRAST),
        SampleRequest(CONTEXT[:9], 3, SAMPLING),
        SampleRequest(CONTEXT[3:], 8, SamplingParams(max_new_tokens=20, seed=1), finalists=2, contrast=[5]),
    ]
    results = llama.sample_batch(requests)
    assert results[1] == llama.sample(CONTEXT[:9], 3, SAMPLING)
    assert all(sample.contrast_logprobs is None for sample in results[1])
    for i in (0, 2):
        assert check(llama, requests[i], results[i]) > 0


def test_answers_that_end_by_themselves_are_finalists(llama: TransformersPolicy) -> None:
    often = TransformersPolicy(llama.model, llama.tokenizer)
    often.eos_token_ids = frozenset(range(0, 256, 9)) | often.eos_token_ids
    request = SampleRequest(
        CONTEXT, 24, SamplingParams(max_new_tokens=64, seed=2), finalists=2, contrast=CONTRAST
    )
    (samples,) = often.sample_batch([request])
    check(often, request, samples)
    assert any(sample.finish_reason == "stop" for sample in samples)


def test_stop_strings_cut_both_sides(llama: TransformersPolicy) -> None:
    plain = llama.sample(CONTEXT, 12, SAMPLING)
    stop = plain[0].text[4:6] or "e"
    sampling = SamplingParams(max_new_tokens=32, seed=6, stop=(stop,))
    (samples,) = llama.sample_batch([SampleRequest(CONTEXT, 12, sampling, finalists=3, contrast=CONTRAST)])
    assert any(sample.finish_reason == "stop" for sample in samples)
    for sample in samples:
        (contrast,) = llama.logprobs(CONTRAST, [sample.token_ids])
        assert sample.contrast_logprobs == pytest.approx(contrast, abs=1e-4)


def test_reading_the_contrast_in_pieces_gives_the_same(
    llama: TransformersPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = SampleRequest(CONTEXT, 7, SAMPLING, finalists=2, contrast=CONTRAST)
    monkeypatch.setattr("icdpo_chains.policies.transformers.engine._MOST_LOGITS", 1)
    (samples,) = llama.sample_batch([request])
    check(llama, request, samples)


def test_a_model_that_cannot_share_prompts_samples_all_to_the_end() -> None:
    policy = tiny_policy("gemma2")
    request = SampleRequest(CONTEXT, 4, SAMPLING, finalists=1, contrast=CONTRAST)
    policy.sample([1], 1, SamplingParams(max_new_tokens=1))  # tries whether prompts can be shared
    read: list[list[int]] = []
    hook = policy.model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(kwargs["input_ids"][0].tolist()), with_kwargs=True
    )
    (samples,) = policy.sample_batch([request])
    hook.remove()
    assert samples == policy.sample(CONTEXT, 4, SAMPLING)
    assert CONTRAST not in read, "the other context was read for nothing"


def test_finalists_need_a_contrast(llama: TransformersPolicy) -> None:
    with pytest.raises(ValueError, match="context is empty"):
        llama.sample_batch([SampleRequest(CONTEXT, 4, SAMPLING, finalists=1)])
    with pytest.raises(ValueError, match="finalists is 0"):
        llama.sample_batch([SampleRequest(CONTEXT, 4, SAMPLING, finalists=0, contrast=CONTRAST)])


def test_the_paper_s_length_and_sixteen_candidates() -> None:
    assert looks(16, 2, 128) == {16: 8, 32: 4, 64: 2}


@given(st.integers(1, 256), st.integers(1, 256), st.integers(1, 4096))
def test_looks_come_later_and_leave_fewer_until_the_finalists_are_left(
    n: int, finalists: int, max_new_tokens: int
) -> None:
    plan = looks(n, finalists, max_new_tokens)
    lengths, left = list(plan), list(plan.values())
    assert lengths == sorted(set(lengths))
    assert all(0 < length < max_new_tokens for length in lengths)
    assert left == sorted(left, reverse=True)
    assert all(finalists <= count < n for count in left)
    if n > finalists and max_new_tokens > 1:
        assert left[-1] == finalists
    else:
        assert not plan or n > finalists
