"""VLLMPolicy on a real server: the same scores as in this process, and what its parameters do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from icdpo_chains import ICDPO, Demonstration, FixedDemonstrations, SamplingParams, TransformersPolicy
from icdpo_chains.errors import PolicyError, TokenizerMismatch
from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.policies.sampling import SampleRequest
from icdpo_chains.policies.vllm.policy import VLLMPolicy

from .server import API_KEY, MAX_MODEL_LEN, MODEL, RunningVLLM

QUESTIONS = ["How do I say sorry?", "I lost my keys. What now?", "Explain why the sky is blue."]


def chat(policy: Any, text: str) -> list[int]:
    ids: list[int] = policy.tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
    )
    return ids


def apart(one: Any, other: Any) -> tuple[float, float]:
    """The mean and the largest difference a token."""
    differences = np.abs(np.concatenate(one) - np.concatenate(other))
    return float(differences.mean()), float(differences.max())


def test_what_the_server_says_of_its_model(policy: VLLMPolicy, float32: TransformersPolicy) -> None:
    assert (policy.name, policy.max_context) == (MODEL, MAX_MODEL_LEN)
    assert policy.eos_token_ids == float32.eos_token_ids


def test_the_same_candidates_are_scored_the_same_as_in_this_process(
    policy: VLLMPolicy,
    float32: TransformersPolicy,
    bfloat16: TransformersPolicy,
    demonstrations: list[Demonstration],
) -> None:
    """About as far from the exact model as bfloat16 is in this process; both contexts of the scorer.

    Measured on 1,264 tokens: 0.031 on average from float32 (at most 0.22), 0.040 from bfloat16 (at most 0.34),
    where bfloat16 itself is 0.032 from float32 (at most 0.20). Scores, per token, differed by up to 0.03.
    """
    served, exact, rounded = [], [], []
    for i, question in enumerate(QUESTIONS[:2]):
        icdpo = ICDPO(policy, FixedDemonstrations(demonstrations[2 * i : 2 * i + 2], k=2))
        draft = icdpo.sample(
            question, icdpo.retrieve(question), n=3, sampling=SamplingParams(max_new_tokens=32, seed=i)
        )
        ids = [answer.token_ids for answer in draft.answers]
        for context in (draft.contexts.chosen, draft.contexts.contrast):
            served += policy.logprobs(context, ids)
            exact += float32.logprobs(context, ids)
            rounded += bfloat16.logprobs(context, ids)
        ranked = icdpo.rank(draft)
        others = ICDPO(float32, icdpo.retriever).score(question, [answer.text for answer in draft.answers])
        scores = {candidate.text: candidate.score for candidate in others.candidates}
        for candidate in ranked.candidates:
            if candidate.finish_reason == "stop":  # `score` takes answers to have ended
                assert candidate.score == pytest.approx(scores[candidate.text], abs=0.1)
    mean, most = apart(served, exact)
    assert mean < 0.06, (mean, most)
    assert most < 0.8, (mean, most)
    mean, most = apart(served, rounded)
    assert mean < 0.06, (mean, most)
    assert most < 0.8, (mean, most)


def test_what_was_sampled_is_scored_the_same(policy: VLLMPolicy) -> None:
    """The log-probabilities that come with a sample are those of the unmodified distribution."""
    context = chat(policy, QUESTIONS[0])
    shaped = SamplingParams(
        max_new_tokens=40, temperature=1.5, top_p=0.9, top_k=50, repetition_penalty=1.2, seed=1
    )
    samples = policy.sample(context, 4, shaped)
    scores = policy.logprobs(context, [sample.token_ids for sample in samples])
    mean, most = apart([sample.logprobs for sample in samples], scores)
    assert mean < 0.02, (mean, most)
    assert most < 0.8, (mean, most)


def test_a_seed_gives_the_same_again_a_smaller_n_the_first_and_another_seed_others(
    policy: VLLMPolicy,
) -> None:
    context, sampling = chat(policy, QUESTIONS[1]), SamplingParams(max_new_tokens=24, seed=5)
    four = policy.sample(context, 4, sampling)
    assert [sample.token_ids for sample in policy.sample(context, 4, sampling)] == [s.token_ids for s in four]
    # In another batch bfloat16 rounds otherwise, so that a candidate may leave its path somewhere; not at once.
    for sample, first in zip(policy.sample(context, 2, sampling), four, strict=False):
        assert sample.token_ids[:4] == first.token_ids[:4]
    assert len({sample.text for sample in four}) == 4
    neighbours = policy.sample(context, 4, replace(sampling, seed=6))
    assert not {sample.text for sample in four} & {sample.text for sample in neighbours}


def test_a_context_that_was_read_is_not_read_again(vllm: RunningVLLM, policy: VLLMPolicy) -> None:
    """All candidates share one reading of it; scoring, where vLLM reads no cache, does not spoil that."""
    context = chat(policy, "A long question. " * 60)
    before = vllm.metric("vllm:prefix_cache_hits_total")
    samples = policy.sample(context, 4, SamplingParams(max_new_tokens=2, seed=0))
    policy.logprobs(context, [sample.token_ids for sample in samples])
    policy.sample(context, 4, SamplingParams(max_new_tokens=2, seed=1))
    assert vllm.metric("vllm:prefix_cache_hits_total") - before >= 4 * (len(context) - 128)


def test_greedy_decoding_is_that_of_the_model(policy: VLLMPolicy, bfloat16: TransformersPolicy) -> None:
    context = chat(policy, "What is the capital of France?")
    sampling = SamplingParams(max_new_tokens=8, temperature=0)
    served = policy.sample(context, 3, sampling)
    assert served[0] == served[1] == served[2]
    assert served[0].text == bfloat16.sample(context, 1, sampling)[0].text


def test_ends_stop_strings_and_the_least_length(policy: VLLMPolicy) -> None:
    context, greedy = (
        chat(policy, "What is the capital of France?"),
        SamplingParams(max_new_tokens=64, temperature=0),
    )
    (ended,) = policy.sample(context, 1, greedy)
    assert ended.finish_reason == "stop"
    assert ended.token_ids[-1] in policy.eos_token_ids
    assert len(ended.token_ids) == len(ended.logprobs)
    length = len(ended.token_ids)
    (longer,) = policy.sample(context, 1, replace(greedy, min_new_tokens=length + 5))
    assert longer.token_ids[: length - 1] == ended.token_ids[:-1]
    assert not set(longer.token_ids[: length + 5]) & policy.eos_token_ids
    (cut,) = policy.sample(context, 1, replace(greedy, max_new_tokens=2))
    assert (cut.finish_reason, cut.token_ids) == ("length", longer.token_ids[:2])
    text = policy.sample(context, 1, replace(greedy, min_new_tokens=40))[0].text
    stop = text[7:11]
    for least in (0, 30):  # vLLM does not look for stop strings that early: we do
        (stopped,) = policy.sample(context, 1, replace(greedy, stop=(stop,), min_new_tokens=least))
        assert (stopped.finish_reason, stopped.text) == ("stop", text[: text.index(stop)])
        assert len(stopped.token_ids) == len(stopped.logprobs) > 0
        assert stopped.text in policy.tokenizer.decode(stopped.token_ids)


def test_a_batch_answers_each_of_its_requests(policy: VLLMPolicy) -> None:
    sampling = SamplingParams(max_new_tokens=8, temperature=0)
    requests = [
        SampleRequest(chat(policy, question), n + 1, sampling) for n, question in enumerate(QUESTIONS)
    ]
    for request, samples in zip(requests, policy.sample_batch(requests), strict=True):
        assert len(samples) == request.n
        assert samples[0].token_ids[:3] == policy.sample(request.context, 1, sampling)[0].token_ids[:3]


def test_more_prompts_at_once_than_the_server_reads_in_one_step(policy: VLLMPolicy) -> None:
    """With seeds: this ends vLLM's CPU build unless it is started without chunked prefill."""
    rules = SamplingParams(max_new_tokens=2, min_new_tokens=2, seed=1)
    requests = [SampleRequest(list(range(1000 + i, 2500 + i)), 2, rules) for i in range(4)]
    assert [len(samples) for samples in policy.sample_batch(requests)] == [2, 2, 2, 2]


def test_the_whole_context_can_be_used_and_no_more(policy: VLLMPolicy, bfloat16: TransformersPolicy) -> None:
    text = chat(policy, "word " * 3000)
    context, answer = text[: MAX_MODEL_LEN - 8], text[100:108]
    (row,) = policy.logprobs(context, [answer])
    mean, most = apart([row], bfloat16.logprobs(context, [answer]))
    assert (mean < 0.1, most < 0.8) == (True, True), (mean, most)
    assert (
        len(policy.sample(context, 1, SamplingParams(max_new_tokens=8, min_new_tokens=8))[0].token_ids) == 8
    )
    with pytest.raises(ValueError, match=f"2040 tokens of context and 9 new ones exceed the {MAX_MODEL_LEN}"):
        policy.logprobs(context, [[*answer, answer[0]]])
    with pytest.raises(ValueError, match="exceed the 2048"):
        policy.sample(context, 1, SamplingParams(max_new_tokens=9))


def test_one_token_is_scored_and_so_is_none(policy: VLLMPolicy, float32: TransformersPolicy) -> None:
    context = chat(policy, QUESTIONS[0])
    assert policy.logprobs(context, [(), (50,)]) == [
        [],
        pytest.approx(float32.logprobs(context, [(50,)])[0], abs=0.5),
    ]


def test_what_the_server_refuses(vllm: RunningVLLM, policy: VLLMPolicy) -> None:
    with pytest.raises(PolicyError, match=r"API key .*VLLM_API_KEY") as caught:
        VLLMPolicy(vllm.url, api_key="another-key")
    assert "another-key" not in str(caught.value)
    with pytest.raises(PolicyError, match=f"no model 'gpt-2' is there: .*{MODEL}"):
        VLLMPolicy(vllm.url, "gpt-2", API_KEY)
    with pytest.raises(TokenizerMismatch, match="differently"):
        VLLMPolicy(vllm.url, api_key=API_KEY, tokenizer=byte_tokenizer())
    with pytest.raises(PolicyError, match=r"temperature must be in \[0, 2\]"):
        policy.sample([1], 1, SamplingParams(temperature=3))
    with pytest.raises(PolicyError, match="out of vocabulary"):
        policy.sample([10**7], 1, SamplingParams())
