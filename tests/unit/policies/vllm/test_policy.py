"""VLLMPolicy against a vLLM server in this process: as the model itself, through HTTP."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icdpo_chains import ICDPO, FixedDemonstrations, Policy, SamplingParams
from icdpo_chains.errors import PolicyError, PolicyUnavailableError, TokenizerMismatch
from icdpo_chains.foundation.concurrency import cancellation
from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.policies.policy import BatchPolicy, ScoreRequest
from icdpo_chains.policies.sampling import Sample, SampleRequest
from icdpo_chains.policies.vllm.policy import VLLMPolicy, _base_seed
from tests.unit.fake_core import DEMONSTRATIONS

from .fake_vllm import Bigram, FakeVLLM

URL = "http://vllm.example:8000/v1"
CONTEXT = byte_tokenizer()("I am sorry. ").input_ids
MODEL = Bigram()


def connect(server: httpx.MockTransport, **options: Any) -> VLLMPolicy:
    return VLLMPolicy(URL, **{"tokenizer": byte_tokenizer(), "retry_for": 0, "transport": server, **options})


@pytest.fixture(scope="module")
def server() -> FakeVLLM:
    return FakeVLLM()


@pytest.fixture(scope="module")
def policy(server: FakeVLLM) -> Any:
    with connect(server) as policy:
        yield policy


def expected(context: list[int], n: int, sampling: SamplingParams) -> list[Sample]:
    """What the model samples by itself with the seeds that vLLM makes of ours."""
    assert sampling.seed is not None
    seeds = [_base_seed(sampling.seed) + i for i in range(n)]
    return [MODEL.sample(context, 1, replace(sampling, seed=seed))[0] for seed in seeds]


def test_it_is_a_policy_under_the_name_that_the_server_gives(policy: VLLMPolicy) -> None:
    assert isinstance(policy, Policy)
    assert isinstance(policy, BatchPolicy)
    assert (policy.name, policy.max_context, policy.url) == ("fake", 4000, "http://vllm.example:8000")
    assert policy.eos_token_ids == {byte_tokenizer().eos_token_id}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(["a", "t", "I ", ". ", "you", " to", "e", "ou l"]), max_size=3),
    st.integers(0, 2**63 - 1),
    st.integers(1, 3),
    st.integers(0, 12),
    st.sampled_from([{}, {"temperature": 0.5}, {"top_k": 3}, {"repetition_penalty": 1.3}, {"top_p": 1.0}]),
)
def test_samples_are_the_model_s_own(
    policy: VLLMPolicy, stop: list[str], seed: int, n: int, least: int, how: dict[str, Any]
) -> None:
    """Ids, log-probabilities, text and reason, whatever stop strings and end tokens do."""
    sampling = SamplingParams(max_new_tokens=24, min_new_tokens=least, stop=tuple(stop), seed=seed, **how)
    assert policy.sample(CONTEXT, n, sampling) == expected(CONTEXT, n, sampling)


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=30), st.lists(st.text(max_size=30), max_size=4))
def test_log_probabilities_are_the_model_s_own(policy: VLLMPolicy, context: str, texts: list[str]) -> None:
    tokenizer = byte_tokenizer()
    ids, answers = tokenizer(context).input_ids, [tokenizer(text).input_ids for text in texts]
    scores = policy.logprobs(ids, answers)
    assert [len(row) for row in scores] == [len(answer) for answer in answers]
    for row, own in zip(scores, MODEL.logprobs(ids, answers), strict=True):
        assert row == pytest.approx(own, abs=1e-5)


def test_what_was_sampled_is_scored_the_same(policy: VLLMPolicy) -> None:
    samples = policy.sample(CONTEXT, 3, SamplingParams(max_new_tokens=20, seed=1, temperature=1.5))
    scores = policy.logprobs(CONTEXT, [sample.token_ids for sample in samples])
    assert [list(sample.logprobs) for sample in samples] == [pytest.approx(row, abs=1e-5) for row in scores]


def test_a_smaller_n_gives_the_first_ones_and_neighbouring_seeds_share_none(policy: VLLMPolicy) -> None:
    sampling = SamplingParams(max_new_tokens=30, min_new_tokens=30, seed=7)
    many = policy.sample(CONTEXT, 8, sampling)
    assert policy.sample(CONTEXT, 3, sampling) == many[:3]
    neighbours = policy.sample(CONTEXT, 8, replace(sampling, seed=8))
    assert not {sample.text for sample in many} & {sample.text for sample in neighbours}
    bases = sorted(map(_base_seed, [*range(1000), 2**63 - 1]))
    assert min(b - a for a, b in pairwise(bases)) > 256
    assert 0 <= bases[0] < bases[-1] + 256 < 2**63


def test_without_a_seed_none_is_sent(policy: VLLMPolicy, server: FakeVLLM) -> None:
    policy.sample(CONTEXT, 1, SamplingParams(max_new_tokens=2))
    assert server.bodies[-1]["seed"] is None


def test_greedy_candidates_are_alike_and_asked_for_once(policy: VLLMPolicy, server: FakeVLLM) -> None:
    """vLLM refuses n above 1 with a temperature of 0."""
    samples = policy.sample(CONTEXT, 3, SamplingParams(max_new_tokens=5, temperature=0))
    assert samples == expected(CONTEXT, 1, SamplingParams(max_new_tokens=5, temperature=0, seed=0)) * 3
    assert server.bodies[-1]["n"] == 1


def test_nothing_is_left_to_the_server_s_generation_config(policy: VLLMPolicy, server: FakeVLLM) -> None:
    policy.sample(CONTEXT, 2, SamplingParams(seed=0, max_new_tokens=3))
    stated = {"temperature": 1.0, "top_p": 0.8, "top_k": 0, "min_p": 0, "repetition_penalty": 1.0}
    assert server.bodies[-1].items() >= {**stated, "presence_penalty": 0, "frequency_penalty": 0}.items()


def test_an_end_token_that_only_the_server_knows_is_an_end(policy: VLLMPolicy) -> None:
    request = SampleRequest(CONTEXT, 1, SamplingParams(max_new_tokens=9))
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "logprobs": {"tokens": ["token_id:65"], "token_logprobs": [-1.0]},
    }
    (sample,) = policy._samples(request, {"choices": [choice]})
    assert (sample.token_ids, sample.finish_reason) == ((65,), "stop")


def test_a_batch_equals_single_calls_and_finalists_change_nothing(policy: VLLMPolicy) -> None:
    requests = [
        SampleRequest(CONTEXT[:i], i, SamplingParams(max_new_tokens=9, seed=i), finalists=1, contrast=CONTEXT)
        for i in range(1, 6)
    ]
    singles = [policy.sample(each.context, each.n, each.sampling) for each in requests]
    assert policy.sample_batch(requests) == singles
    assert policy.sample_batch([]) == []


def test_scoring_several_contexts_equals_single_calls(policy: VLLMPolicy) -> None:
    requests = [ScoreRequest(CONTEXT[:i], [CONTEXT[:i], [], CONTEXT[i : i + 3]]) for i in range(1, 6)]
    singles = [policy.logprobs(each.context, each.continuations) for each in requests]
    assert policy.logprobs_batch(requests) == singles
    assert policy.logprobs_batch([]) == []


def test_guided_decoding_is_refused(policy: VLLMPolicy) -> None:
    guided = SamplingParams(max_new_tokens=5, decoding="guided")
    with pytest.raises(ValueError, match="a vLLM server reads one"):
        policy.sample_batch([SampleRequest(CONTEXT, 1, guided, contrast=CONTEXT)])


def test_many_threads_get_their_own(policy: VLLMPolicy) -> None:
    def one(seed: int) -> bool:
        sampling = SamplingParams(max_new_tokens=8, seed=seed)
        (own,) = policy.sample(CONTEXT, 1, sampling)
        (scores,) = policy.logprobs(CONTEXT, [own.token_ids])
        return [own] == expected(CONTEXT, 1, sampling) and len(scores) == len(own.token_ids)

    with ThreadPoolExecutor(32) as threads:
        assert all(threads.map(one, range(64)))


@pytest.mark.parametrize("length", [1, 2, 20])
def test_a_continuation_that_fills_the_context_exactly_is_scored(length: int) -> None:
    """vLLM wants room for one token more than that."""
    server = FakeVLLM(max_model_len=100)
    with connect(server) as policy:
        context, answer = (CONTEXT * 20)[: 100 - length], (CONTEXT * 2)[:length]
        assert policy.logprobs(context, [answer]) == [pytest.approx(MODEL.logprobs(context, [answer])[0])]
        asked = len(server.bodies)
        with pytest.raises(ValueError, match="new ones exceed the 100 tokens that fake can read"):
            policy.logprobs(context, [[*answer, 65]])
        with pytest.raises(ValueError, match="1 new ones exceed the 100"):
            policy.sample(CONTEXT * 20, 1, SamplingParams(max_new_tokens=1))
        assert len(server.bodies) == asked


def test_arguments_that_can_t_be_used(policy: VLLMPolicy) -> None:
    with pytest.raises(ValueError, match="context is empty"):
        policy.sample([], 1, SamplingParams())
    with pytest.raises(ValueError, match="context is empty"):
        policy.logprobs([], [])
    with pytest.raises(ValueError, match="n is 257"):
        policy.sample(CONTEXT, 257, SamplingParams())
    assert policy.logprobs(CONTEXT, []) == []
    assert policy.logprobs(CONTEXT, [(), ()]) == [[], []]


def test_a_probability_of_nothing_is_minus_infinity(policy: VLLMPolicy) -> None:
    answer = {"choices": [{"prompt_logprobs": [None, {"5": {"logprob": -9999.0}}]}]}
    assert policy._scores([1], [5], answer) == [-math.inf]


@pytest.mark.parametrize(
    "junk",
    [{}, [], "text", {"choices": []}, {"choices": [{"index": 0}]}, {"choices": [{"prompt_logprobs": None}]}],
)
def test_an_answer_of_another_kind_is_refused(junk: Any) -> None:
    server = FakeVLLM()
    with connect(server) as policy:
        server.handler = lambda request: httpx.Response(200, json=junk)
        with pytest.raises(PolicyError, match="does not answer like vLLM"):
            policy.sample(CONTEXT, 1, SamplingParams())
        with pytest.raises(PolicyError, match="does not answer like vLLM"):
            policy.logprobs(CONTEXT, [CONTEXT])


def test_which_model() -> None:
    two = FakeVLLM(models=["one", "two"])
    with pytest.raises(PolicyError, match=r"none was named: give one of the models .*: 'one', 'two'"):
        connect(two)
    with pytest.raises(PolicyError, match=r"no model 'three' is there: .*'one', 'two'"):
        connect(two, model="three")
    with connect(two, model="two", name="mine") as policy:
        policy.sample(CONTEXT, 1, SamplingParams(max_new_tokens=1))
    assert policy.name == "mine"
    assert two.bodies[-1]["model"] == "two"


def test_the_api_key_is_an_argument_or_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeVLLM(api_key="right")
    connect(server, api_key="right").close()
    with pytest.raises(PolicyError, match="VLLM_API_KEY") as caught:
        connect(server, api_key="wrong-one")
    assert "wrong-one" not in str(caught.value)
    monkeypatch.setenv("VLLM_API_KEY", "right\n")
    connect(server).close()


def test_another_tokenizer_is_refused() -> None:
    class Other(FakeVLLM):
        def tokenize(self, body: dict[str, Any]) -> dict[str, Any]:
            ids = super().tokenize(body)["tokens"]
            return {"tokens": [ids[0], *ids[2:]] if "🦜" in body["prompt"] else ids}

    with pytest.raises(TokenizerMismatch, match=r"read 'def f.*\[\d+, .*there and \[\d+, .*as tokenizer"):
        connect(Other())


def test_other_special_tokens_are_another_tokenizer() -> None:
    class Other(FakeVLLM):
        def tokenize(self, body: dict[str, Any]) -> dict[str, Any]:
            return super().tokenize({**body, "prompt": body["prompt"].replace("<|im_end|>", "<|end|>")})

    with pytest.raises(TokenizerMismatch, match=r"<\|im_end\|>"):
        connect(Other())


def test_a_tokenizer_that_is_nowhere_is_asked_for() -> None:
    with pytest.raises(
        PolicyError, match=r"tokenizer of 'fake' can't be loaded \('/not/there': .*give tokenizer="
    ):
        connect(FakeVLLM(), tokenizer="/not/there")


@pytest.mark.parametrize("mode", ["processed_logprobs", "raw_logits"])
def test_log_probabilities_of_another_distribution_are_refused(mode: str) -> None:
    with pytest.raises(PolicyError, match=r"not the model's own .*--logprobs-mode raw_logprobs"):
        connect(FakeVLLM(mode=mode))


def test_a_server_that_is_not_there() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    with pytest.raises(PolicyUnavailableError, match=r"vllm.example:8000 is unavailable.*connection refused"):
        connect(httpx.MockTransport(refuse))


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def test_icdpo_runs_on_it_and_a_cancelled_answer_is_taken_back() -> None:
    server = FakeVLLM()
    with connect(server) as policy:
        icdpo = ICDPO(policy, FixedDemonstrations(DEMONSTRATIONS, k=2), n=4)
        sampling = SamplingParams(max_new_tokens=16, seed=3)
        result = icdpo.generate("I lost my keys.", sampling=sampling)
        assert len(result.candidates) == 4
        together = icdpo.generate_batch(["I lost my keys.", "My cat is ill."], sampling=sampling)
        assert [c.text for c in together[0].candidates] == [c.text for c in result.candidates]
        server.hold, asked = True, len(server.bodies)
        task = asyncio.create_task(icdpo.agenerate("I lost my keys.", sampling=sampling))
        await until(lambda: len(server.bodies) > asked)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: server.dropped == 1)


@pytest.mark.parametrize("call", ["sample", "logprobs"])
def test_an_event_takes_a_call_back(call: str) -> None:
    server = FakeVLLM()
    with connect(server) as policy:
        server.hold, event, asked = True, threading.Event(), len(server.bodies)
        calls = {
            "sample": lambda: policy.sample(CONTEXT, 1, SamplingParams()),
            "logprobs": lambda: policy.logprobs(CONTEXT, [CONTEXT, CONTEXT]),
        }
        token = cancellation.set(event)
        threading.Timer(0.1, event.set).start()
        try:
            with pytest.raises(CancelledError):
                calls[call]()
        finally:
            cancellation.reset(token)
    assert server.dropped == len(server.bodies) - asked


def test_an_address_that_was_mistyped_is_told_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icdpo_chains.policies.vllm.policy._FIRST_CONTACT", 0.2)

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("nobody is there", request=request)

    with pytest.raises(PolicyUnavailableError, match=r"after 0.2 s.*nobody is there.*check its address"):
        VLLMPolicy("http://localhost:1", retry_for=60, transport=httpx.MockTransport(refuse))
