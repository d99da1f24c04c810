"""The fast paths against their slow, obvious twins, on tiny models of several architectures, in fp32."""

import gc
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from icdpo_chains.errors import PolicyError
from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.policies.policy import BatchScoringPolicy, Policy, ScoreRequest
from icdpo_chains.policies.sampling import SampleRequest, SamplingParams
from icdpo_chains.policies.transformers.cache import SharedPromptLayer
from icdpo_chains.policies.transformers.policy import TransformersPolicy

from ..conftest import ARCHITECTURES, tiny_policy

CONTEXT = byte_tokenizer()("Is it true that every fast path has a slow twin? ").input_ids


@torch.inference_mode()
def slow_sample(
    policy: TransformersPolicy, context: list[int], row: int, sampling: SamplingParams
) -> tuple[list[int], list[float]]:
    """One candidate, without a cache and without a batch: all is read again for each token."""
    shape = LogitsProcessorList()
    if sampling.repetition_penalty != 1:
        shape.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    if sampling.temperature != 1:
        shape.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        shape.append(TopKLogitsWarper(sampling.top_k))
    inside = TopPLogitsWarper(sampling.top_p) if sampling.top_p < 1 else lambda _, logits: logits
    random = np.random.default_rng([sampling.seed, row])
    ids, logprobs = list(context), []
    for position in range(sampling.max_new_tokens):
        tensor = torch.tensor([ids])
        logits = policy.model(tensor, use_cache=False).logits[:, -1].float()
        allowed = logits.clone()
        if position < sampling.min_new_tokens:
            allowed[:, list(policy.eos_token_ids)] = -torch.inf
        shaped = shape(tensor, allowed)
        nucleus = inside(tensor, shaped)[0].isfinite()
        left = shaped.double().softmax(-1)[0]
        order = left.argsort(descending=True) if sampling.top_k else torch.arange(len(left))
        while True:
            cumulative = left[order].cumsum(0)
            uniform = random.random(dtype=np.float32)
            token = int(order[(cumulative > uniform * cumulative[-1]).nonzero()[0, 0]])
            if nucleus[token]:
                break
            left = torch.where(left > left[token], left, 0)
        logprobs.append(float(logits.log_softmax(-1)[0, token]))
        ids.append(token)
        if token in policy.eos_token_ids:
            break
    return ids[len(context) :], logprobs


@torch.inference_mode()
def slow_logprobs(policy: TransformersPolicy, context: list[int], continuation: list[int]) -> list[float]:
    """One continuation: context and continuation read as one text, without a cache."""
    logits = policy.model(torch.tensor([context + continuation]), use_cache=False).logits[0].float()
    table = logits.log_softmax(-1)
    return [float(table[len(context) - 1 + i, token]) for i, token in enumerate(continuation)]


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingParams(max_new_tokens=40, seed=1),
        SamplingParams(max_new_tokens=40, seed=2, top_p=1.0, temperature=1.3, min_new_tokens=0),
        SamplingParams(max_new_tokens=20, seed=3, top_k=7, repetition_penalty=1.4),
    ],
    ids=["top_p", "everything", "top_k and penalty"],
)
def test_sampling_equals_the_slow_twin(policy: TransformersPolicy, sampling: SamplingParams) -> None:
    samples = policy.sample(CONTEXT, 5, sampling)
    assert len(samples) == 5
    for row, sample in enumerate(samples):
        ids, logprobs = slow_sample(policy, CONTEXT, row, sampling)
        assert list(sample.token_ids) == ids
        assert sample.logprobs == pytest.approx(logprobs, abs=1e-4)
        assert sample.finish_reason == ("stop" if ids[-1] in policy.eos_token_ids else "length")


def test_logprobs_equal_the_slow_twin(policy: TransformersPolicy) -> None:
    continuations = [list(b"yes"), [], list(b"a much longer continuation than the others, on purpose"), [65]]
    for context in (CONTEXT, [7]):
        batch = policy.logprobs(context, continuations)
        for continuation, logprobs in zip(continuations, batch, strict=True):
            assert logprobs == pytest.approx(slow_logprobs(policy, context, continuation), abs=1e-4)
            assert policy.logprobs(context, [continuation])[0] == pytest.approx(logprobs, abs=1e-4)


@pytest.mark.parametrize("most_logits", [2**26, 2_000, 1])
@pytest.mark.parametrize("together", [False, True])
def test_scoring_several_contexts_equals_single_calls(
    policy: TransformersPolicy, monkeypatch: pytest.MonkeyPatch, together: bool, most_logits: int
) -> None:
    requests = [
        ScoreRequest(CONTEXT, [list(b"yes"), [], list(b"a longer one")]),
        ScoreRequest([7], [[65]]),
        ScoreRequest(CONTEXT[:9], []),
        ScoreRequest(CONTEXT[:9], [[], []]),
        ScoreRequest(CONTEXT[3:], [list(b"no")] * 3),
        ScoreRequest(CONTEXT, [list(b"yes")]),
        ScoreRequest((CONTEXT * 9)[:255], [[65]]),  # padding behind it would exceed the context
    ]
    alone = [policy.logprobs(one.context, one.continuations) for one in requests]
    monkeypatch.setattr("icdpo_chains.policies.transformers.engine._MOST_LOGITS", most_logits)
    monkeypatch.setattr(policy._engine, "_scores_together", together)
    batch = policy.logprobs_batch(requests)
    assert [[len(row) for row in rows] for rows in batch] == [[3, 0, 12], [1], [], [0, 0], [2] * 3, [3], [1]]
    for rows, others in zip(batch, alone, strict=True):
        for row, other in zip(rows, others, strict=True):
            assert row == pytest.approx(other, abs=1e-4)
    with pytest.raises(ValueError, match="context is empty"):
        policy.logprobs_batch([*requests, ScoreRequest([], [[65]])])


def test_what_was_recorded_while_sampling_is_what_scoring_finds(policy: TransformersPolicy) -> None:
    samples = policy.sample(CONTEXT, 4, SamplingParams(max_new_tokens=30, seed=5, temperature=1.5))
    scored = policy.logprobs(CONTEXT, [sample.token_ids for sample in samples])
    for sample, logprobs in zip(samples, scored, strict=True):
        assert sample.logprobs == pytest.approx(logprobs, abs=1e-4)


def test_a_batch_equals_single_calls(policy: TransformersPolicy) -> None:
    requests = [
        SampleRequest(CONTEXT, 3, SamplingParams(max_new_tokens=30, seed=1)),
        SampleRequest(CONTEXT[:5], 1, SamplingParams(max_new_tokens=30, seed=2)),
        SampleRequest(CONTEXT[2:30], 4, SamplingParams(max_new_tokens=12, seed=3, top_k=5, min_new_tokens=9)),
        SampleRequest([7], 2, SamplingParams(max_new_tokens=20, seed=1, repetition_penalty=1.3, stop=("e",))),
        SampleRequest(CONTEXT[:5], 2, SamplingParams(max_new_tokens=30, seed=2)),
    ]
    for request, samples in zip(requests, policy.sample_batch(requests), strict=True):
        alone = policy.sample(request.context, request.n, request.sampling)
        assert [sample.token_ids for sample in samples] == [sample.token_ids for sample in alone]
        assert [sample.text for sample in samples] == [sample.text for sample in alone]
        for sample, other in zip(samples, alone, strict=True):
            assert sample.logprobs == pytest.approx(other.logprobs, abs=1e-4)
            assert sample.finish_reason == other.finish_reason
    assert policy.sample_batch([]) == []


def test_a_batch_is_cut_into_what_fits_together(llama: TransformersPolicy) -> None:
    small = TransformersPolicy(llama.model, llama.tokenizer, max_rows=4)
    read: list[int] = []
    hook = llama.model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    requests = [
        SampleRequest(CONTEXT, n, SamplingParams(max_new_tokens=2, min_new_tokens=2, seed=n))
        for n in (2, 2, 1, 9, 1)
    ]
    small.sample([5], 1, SamplingParams(max_new_tokens=1))  # tries whether prompts can be shared
    read.clear()
    try:
        small.sample_batch(requests)
    finally:
        hook.remove()
    assert read == [1, 1, 4, 1, 1, 1, 9, 1, 1]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_which_architectures_share_prompts(architecture: str, caplog: pytest.LogCaptureFixture) -> None:
    shares = architecture != "gemma2"  # it caps its scores; windows matter to longer contexts alone
    policy = tiny_policy(architecture)
    for _ in range(2):
        policy.sample([1, 2, 3], 2, SamplingParams(max_new_tokens=3, seed=0))
    assert policy._engine._shares is shares
    assert caplog.text.count("can't share a prompt") == (not shares)


def test_an_attention_with_something_of_its_own_does_not_share(caplog: pytest.LogCaptureFixture) -> None:
    """As gpt-oss has sinks and Gemma 2 a soft cap: the model is asked, not a list of names."""
    policy = tiny_policy("llama")
    for layer in policy.model.model.layers:
        layer.self_attn.register_forward_pre_hook(
            lambda module, args, kwargs: (args, {**kwargs, "s_aux": torch.ones(4)}), with_kwargs=True
        )
    samples = policy.sample(CONTEXT, 3, SamplingParams(max_new_tokens=9, seed=1))
    plain = tiny_policy("llama").sample(CONTEXT, 3, SamplingParams(max_new_tokens=9, seed=1))
    assert [sample.token_ids for sample in samples] == [sample.token_ids for sample in plain]
    assert "can't share a prompt" in caplog.text


@pytest.mark.parametrize("score", [False, True], ids=["sampling", "scoring"])
def test_a_window_that_a_few_tokens_do_not_show_ends_the_sharing(
    score: bool, caplog: pytest.LogCaptureFixture
) -> None:
    policy = tiny_policy("llama")
    for layer in policy.model.model.layers:  # which sdpa does not look at, so that the answers stay the same
        layer.self_attn.register_forward_pre_hook(
            lambda module, args, kwargs: (args, {**kwargs, "sliding_window": 40}), with_kwargs=True
        )
    sampling = SamplingParams(max_new_tokens=9, seed=1)
    plain = tiny_policy("llama")
    policy.sample(CONTEXT[:5], 2, sampling)
    assert policy._engine._shares
    assert len(CONTEXT) > 40
    if score:
        for row, twin in zip(
            policy.logprobs(CONTEXT, [[1, 2], [3]]), plain.logprobs(CONTEXT, [[1, 2], [3]]), strict=True
        ):
            assert row == pytest.approx(twin, abs=1e-4)
    else:
        ids = [sample.token_ids for sample in policy.sample(CONTEXT, 3, sampling)]
        assert ids == [sample.token_ids for sample in plain.sample(CONTEXT, 3, sampling)]
    assert policy._engine._shares is False
    assert caplog.text.count("can't share a prompt") == 1


def test_the_model_is_left_as_it_was(llama: TransformersPolicy) -> None:
    before = llama.model.config._attn_implementation
    llama.sample(CONTEXT, 2, SamplingParams(max_new_tokens=3))
    assert llama.model.config._attn_implementation == before
    assert all("forward" not in vars(module) for module in llama.model.modules())
    ids = torch.tensor([CONTEXT])
    assert llama.model.generate(ids, max_new_tokens=3, do_sample=False).shape[0] == 1


def test_another_thread_may_use_the_model_meanwhile(llama: TransformersPolicy) -> None:
    """The attention is swapped for a moment, and has to be the usual one for whoever else comes along."""
    from icdpo_chains.policies.transformers.attention import shared_prompt_attention

    ids = torch.tensor([CONTEXT, CONTEXT[::-1]])
    mask = torch.ones_like(ids)
    mask[0, :3] = 0
    alone = llama.model(ids, attention_mask=mask).logits
    found: list[torch.Tensor] = []
    with shared_prompt_attention(llama.model):
        thread = threading.Thread(target=lambda: found.append(llama.model(ids, attention_mask=mask).logits))
        thread.start()
        thread.join()
    torch.testing.assert_close(found[0][:, 3:], alone[:, 3:])


def test_nothing_is_kept_of_a_call(llama: TransformersPolicy) -> None:
    llama.sample(CONTEXT, 2, SamplingParams(max_new_tokens=3))
    gc.collect()
    gc.disable()
    try:
        before = sum(type(item) is SharedPromptLayer for item in gc.get_objects())
        llama.sample(CONTEXT, 2, SamplingParams(max_new_tokens=3))
        llama.logprobs(CONTEXT, [[1, 2], [3]])
        assert sum(type(item) is SharedPromptLayer for item in gc.get_objects()) == before
    finally:
        gc.enable()


def test_what_is_cancelled_samples_no_more(llama: TransformersPolicy) -> None:
    cancelled = threading.Event()
    steps = []

    def count(module: object, args: object, kwargs: dict[str, Any]) -> None:
        steps.append(len(kwargs["input_ids"]))
        if len(steps) == 4:
            cancelled.set()

    sampling = SamplingParams(max_new_tokens=12, min_new_tokens=12, seed=1)
    requests = [SampleRequest(CONTEXT, 2, sampling, cancelled), SampleRequest(CONTEXT, 1, sampling)]
    expected = llama.sample(CONTEXT, 1, sampling)
    hook = llama.model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        taken_back, other = llama._engine.sample(requests, llama.eos_token_ids, llama.tokenizer)
    finally:
        hook.remove()
    assert steps == [1, 1, 3, 3, *[1] * 9]
    assert [len(sample.token_ids) for sample in taken_back] == [3, 3]
    assert other[0].token_ids == expected[0].token_ids


def test_a_smaller_n_gives_the_first_of_a_larger_one(llama: TransformersPolicy) -> None:
    sampling = SamplingParams(max_new_tokens=25, seed=9)
    assert [s.token_ids for s in llama.sample(CONTEXT, 3, sampling)] == [
        s.token_ids for s in llama.sample(CONTEXT, 8, sampling)[:3]
    ]
    assert llama.sample(CONTEXT, 1, replace(sampling, seed=10))[0] != llama.sample(CONTEXT, 1, sampling)[0]


def test_the_context_is_read_once_for_all_candidates(llama: TransformersPolicy) -> None:
    read: list[tuple[int, ...]] = []
    hook = llama.model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    try:
        llama.sample(CONTEXT, 4, SamplingParams(max_new_tokens=3, seed=0, min_new_tokens=3))
        assert read == [(1, len(CONTEXT)), (4, 1), (4, 1)]
        read.clear()
        llama.logprobs(CONTEXT, [[1, 2, 3], [4]])
        assert read == [(1, len(CONTEXT)), (2, 2)]
    finally:
        hook.remove()


def test_every_one_of_several_end_tokens_ends(llama: TransformersPolicy) -> None:
    many = TransformersPolicy(llama.model, llama.tokenizer)
    many.eos_token_ids = frozenset(range(0, 256, 2)) | many.eos_token_ids
    samples = many.sample(CONTEXT, 6, SamplingParams(max_new_tokens=40, seed=4, top_p=1.0, min_new_tokens=2))
    for sample in samples:
        ends = [token in many.eos_token_ids for token in sample.token_ids]
        assert len(ends) >= 3, "an end token was sampled before min_new_tokens"
        assert ends == [False] * (len(ends) - 1) + [sample.finish_reason == "stop"]


def test_scoring_in_several_batches_gives_the_same(llama: TransformersPolicy, monkeypatch) -> None:
    continuations = [list(b"one"), list(b"three"), list(b"seventeen"), list(b"x")]
    at_once = llama.logprobs(CONTEXT, continuations)
    monkeypatch.setattr("icdpo_chains.policies.transformers.engine._MOST_LOGITS", 1)
    for one, other in zip(at_once, llama.logprobs(CONTEXT, continuations), strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_threads_do_not_disturb_each_other(llama: TransformersPolicy) -> None:
    alone = [llama.sample(CONTEXT, 2, SamplingParams(max_new_tokens=15, seed=i)) for i in range(8)]
    together: dict[int, object] = {}

    def work(i: int) -> None:
        together[i] = llama.sample(CONTEXT, 2, SamplingParams(max_new_tokens=15, seed=i))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[i] for i in range(8)] == alone


def test_bad_calls_are_refused(llama: TransformersPolicy) -> None:
    with pytest.raises(ValueError, match="context is empty"):
        llama.sample([], 1, SamplingParams())
    with pytest.raises(ValueError, match="exceed the 256 tokens"):
        llama.sample(CONTEXT, 1, SamplingParams(max_new_tokens=250))
    with pytest.raises(ValueError, match="exceed the 256 tokens"):
        llama.logprobs(CONTEXT, [[1] * 250])
    for n in (0, -1, 10**9):
        with pytest.raises(ValueError, match="n is"):
            llama.sample(CONTEXT, n, SamplingParams())
    with pytest.raises(TypeError, match="whole number"):
        llama.sample(CONTEXT, True, SamplingParams())


def test_a_model_of_nans_is_refused(llama: TransformersPolicy) -> None:
    broken = TransformersPolicy(llama.model, llama.tokenizer)

    def break_it(module: object, args: object, out: Any) -> None:
        out.logits.fill_(torch.nan)

    hook = broken.model.register_forward_hook(break_it)
    try:
        with pytest.raises(PolicyError, match="NaN"):
            broken.sample(CONTEXT, 2, SamplingParams(max_new_tokens=3))
    finally:
        hook.remove()


def test_it_is_a_policy_with_the_models_limits(policy: TransformersPolicy) -> None:
    assert isinstance(policy, BatchScoringPolicy)
    assert isinstance(policy, Policy)
    assert policy.max_context == 256
    assert policy.tokenizer.eos_token_id in policy.eos_token_ids


def test_loading_what_is_not_there_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"(?s)can't be loaded.*hub name that holds safetensors"):
        TransformersPolicy.from_pretrained(tmp_path, device="cpu")
    with pytest.raises(PolicyError, match="dtype 'float7' is unknown"):
        TransformersPolicy.from_pretrained(tmp_path, device="cpu", dtype="float7")


def test_a_saved_model_loads_from_its_directory(llama: TransformersPolicy, tmp_path: Path) -> None:
    llama.model.save_pretrained(tmp_path)
    llama.tokenizer.save_pretrained(tmp_path)
    loaded = TransformersPolicy.from_pretrained(tmp_path, device="cpu", dtype="float32")
    sampling = SamplingParams(max_new_tokens=12, seed=1)
    pairs = zip(loaded.sample(CONTEXT, 2, sampling), llama.sample(CONTEXT, 2, sampling), strict=True)
    for ours, theirs in pairs:
        assert (ours.token_ids, ours.text) == (theirs.token_ids, theirs.text)
        # Not to the last digit: weights that lie elsewhere in memory may be multiplied in another order.
        assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-4)


def test_pickled_weights_are_refused(llama: TransformersPolicy, tmp_path: Path) -> None:
    llama.model.config.save_pretrained(tmp_path)
    llama.tokenizer.save_pretrained(tmp_path)
    torch.save(llama.model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(PolicyError, match="safetensors"):
        TransformersPolicy.from_pretrained(tmp_path, device="cpu")


def test_a_model_that_was_loaded_before_a_fork_is_refused(llama, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icdpo_chains.foundation.concurrency.os.getpid", lambda: -1)
    for use in (
        lambda: llama.sample([1, 2], 1, SamplingParams(max_new_tokens=1)),
        lambda: llama.logprobs([1, 2], [[3]]),
    ):
        with pytest.raises(PolicyError, match=r"was loaded before this process was forked.*after the fork"):
            use()
