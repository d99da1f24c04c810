"""A device without memory: the same answers in smaller portions, or an error; and nothing stays behind."""

import itertools
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from icdpo_chains import ICDPO, FixedDemonstrations
from icdpo_chains.errors import PolicyMemoryError
from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.policies.policy import ScoreRequest
from icdpo_chains.policies.sampling import Sample, SampleRequest, SamplingParams
from icdpo_chains.policies.token_stream import TokenStream
from icdpo_chains.policies.transformers import device_memory, memory_estimate, portions
from icdpo_chains.policies.transformers.engine import Engine
from icdpo_chains.policies.transformers.memory_estimate import Load, Request, rows_of
from icdpo_chains.policies.transformers.policy import TransformersPolicy
from icdpo_chains.policies.transformers.portions import Portions
from icdpo_chains.result import ICDPOResult

from ...fake_core import DEMONSTRATIONS
from ..conftest import tiny_policy

CONTEXT = byte_tokenizer()("Does a device without memory answer the same? ").input_ids
CONTRAST = byte_tokenizer()("Say something else now: ").input_ids

SAMPLING = SamplingParams(max_new_tokens=9, min_new_tokens=9, seed=4)
REQUESTS = [
    SampleRequest(CONTEXT, 3, SamplingParams(max_new_tokens=9, seed=1)),
    SampleRequest(CONTEXT[:5], 1, SamplingParams(max_new_tokens=14, seed=2, temperature=0.7)),
    SampleRequest(CONTEXT[2:30], 5, SamplingParams(max_new_tokens=8, seed=3, top_k=5, min_new_tokens=6)),
    SampleRequest([7], 2, SamplingParams(max_new_tokens=9, seed=1, repetition_penalty=1.3, stop=("e",))),
    SampleRequest(
        CONTEXT[9:], 3, SamplingParams(max_new_tokens=9, seed=6, decoding="guided"), contrast=CONTRAST
    ),
]
SCORES = [
    ScoreRequest(CONTEXT, [list(b"yes"), [], list(b"a longer one"), list(b"no"), list(b"perhaps")]),
    ScoreRequest(CONTRAST, [[], [65, 66]]),
    ScoreRequest(CONTEXT[:9], []),
]


@pytest.fixture(autouse=True)
def without_the_garbage_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes long in a large process, and the memory has to be free without it."""
    monkeypatch.setattr(device_memory, "release_unused", lambda: None)


class Device:
    """Has too little memory for some passes through a model; counts the passes."""

    def __init__(self, fails: Callable[[int, torch.Tensor], bool]) -> None:
        self.fails = fails
        self.passes = self.failures = 0
        self.rows: list[int] = []

    def look(self, module: object, args: object, kwargs: dict[str, Any]) -> None:
        ids = kwargs["input_ids"]
        self.passes += 1
        if self.fails(self.passes, ids):
            self.failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.rows.append(len(ids))


@contextmanager
def device(policy: TransformersPolicy, fails: Callable[[int, torch.Tensor], bool]) -> Iterator[Device]:
    seen = Device(fails)
    hook = policy.model.register_forward_pre_hook(seen.look, with_kwargs=True)
    try:
        yield seen
    finally:
        hook.remove()


def more_rows_than(most: int) -> Callable[[int, torch.Tensor], bool]:
    return lambda number, ids: len(ids) > most


def ids_of(samples: Sequence[Sequence[Sample]]) -> list[list[tuple[int, ...]]]:
    return [[sample.token_ids for sample in own] for own in samples]


def check(samples: Sequence[Sequence[Sample]], twins: Sequence[Sequence[Sample]]) -> None:
    assert ids_of(samples) == ids_of(twins)
    for sample, twin in zip(itertools.chain(*samples), itertools.chain(*twins), strict=True):
        assert (sample.text, sample.finish_reason) == (twin.text, twin.finish_reason)
        assert sample.logprobs == pytest.approx(twin.logprobs, abs=1e-5)
        assert (sample.contrast_logprobs is None) == (twin.contrast_logprobs is None)
        if sample.contrast_logprobs is not None:
            assert sample.contrast_logprobs == pytest.approx(twin.contrast_logprobs, abs=1e-5)


def check_scores(scores: Sequence[Sequence[list[float]]], twins: Sequence[Sequence[list[float]]]) -> None:
    for rows, others in zip(scores, twins, strict=True):
        assert [pytest.approx(row, abs=1e-5) for row in rows] == others


@pytest.mark.parametrize("most", [2, 4])
def test_a_device_for_a_few_rows_gives_the_same_answers(
    policy: TransformersPolicy, most: int, caplog: pytest.LogCaptureFixture
) -> None:
    policy = TransformersPolicy(policy.model, policy.tokenizer)
    twin = TransformersPolicy(policy.model, policy.tokenizer)
    twins, scored = twin.sample_batch(REQUESTS), twin.logprobs_batch(SCORES)
    policy.sample([5], 1, SamplingParams(max_new_tokens=1))  # tries whether prompts can be shared
    caplog.clear()
    with device(policy, more_rows_than(most)) as seen:
        check(policy.sample_batch(REQUESTS), twins)
        check_scores(policy.logprobs_batch(SCORES), scored)
    assert seen.failures > 0
    assert 1 <= caplog.text.count("computes in smaller portions from now on") <= 2, "one line for each call"


def test_the_limit_is_remembered(llama: TransformersPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_estimate, "free_bytes", lambda device: 2**40)
    policy = TransformersPolicy(llama.model, llama.tokenizer)
    policy.sample([5], 1, SamplingParams(max_new_tokens=1))
    continuations = [list(b"some words")] * 8
    with device(policy, more_rows_than(4)) as seen:
        twins = policy.sample(CONTEXT, 8, SAMPLING)
        assert seen.failures == 1
        for _ in range(2):
            check([policy.sample(CONTEXT, 8, SAMPLING)], [twins])
        assert seen.failures == 1
        policy.logprobs(CONTEXT, continuations)
        failures = seen.failures
        for _ in range(2):
            policy.logprobs(CONTEXT, continuations)
        assert seen.failures == failures


@pytest.mark.parametrize(("architecture", "each"), [("llama", 3), ("gemma2", 11)])
def test_one_failure_at_any_pass_changes_nothing(architecture: str, each: int) -> None:
    """Also in the passes of the first use, which try how the model can be computed."""
    requests = [REQUESTS[0], REQUESTS[4]]
    twin = tiny_policy(architecture)
    with device(twin, lambda number, ids: False) as seen:
        twins, scored = twin.sample_batch(requests), twin.logprobs_batch(SCORES)
    passes = seen.passes
    assert passes > 20
    for failing in range(1, passes + 1, each):
        policy = tiny_policy(architecture)
        with device(policy, lambda number, ids, failing=failing: number == failing) as seen:
            check(policy.sample_batch(requests), twins)
            check_scores(policy.logprobs_batch(SCORES), scored)
        assert seen.failures == 1
        assert policy._engine._shares is twin._engine._shares


def test_steps_of_a_fixed_shape_too(llama: TransformersPolicy) -> None:
    def static() -> TransformersPolicy:
        policy = TransformersPolicy(llama.model, llama.tokenizer)
        policy._engine = Engine(policy.model, 0, 0, static=True)
        return policy

    twin = static()
    with device(twin, lambda number, ids: False) as seen:
        twins = twin.sample_batch(REQUESTS)
    for failing in range(1, seen.passes + 1, 11):
        policy = static()
        with device(policy, lambda number, ids, failing=failing: number == failing) as seen:
            check(policy.sample_batch(REQUESTS), twins)
        assert seen.failures == 1
        assert policy._engine._static


def test_what_is_too_long_is_an_error_and_leaves_the_others_their_answers() -> None:
    tiny = tiny_policy("llama")
    policy = TransformersPolicy(tiny.model, tiny.tokenizer, prefix_cache=0)
    retriever = FixedDemonstrations(DEMONSTRATIONS, k=1)
    icdpo = ICDPO(policy, retriever, n=3, sampling=SamplingParams(max_new_tokens=6))
    questions = ["Why?", "Why? Say it.", "Where?"]
    twins = icdpo.generate_batch(questions, seed=4)
    long = len(icdpo.sample(questions[1], icdpo.retrieve(questions[1]), seed=4).contexts.chosen)
    with device(policy, lambda number, ids: ids.shape[1] >= long):
        outcomes = icdpo.generate_batch(questions, seed=4, return_exceptions=True)
        with pytest.raises(PolicyMemoryError):
            icdpo.generate_batch(questions, seed=4)
    assert isinstance(outcomes[1], PolicyMemoryError)
    for words in ("cpu", "one candidate", f"{long} tokens", "6 new", "GiB are free", "max_tokens", "4bit"):
        assert words in str(outcomes[1])
    for outcome, other in ((outcomes[0], twins[0]), (outcomes[2], twins[2])):
        assert isinstance(outcome, ICDPOResult)
        assert outcome.text == other.text
    assert [result.text for result in icdpo.generate_batch(questions, seed=4)] == [
        result.text for result in twins
    ]


def test_a_question_that_is_too_long_makes_no_later_portion_smaller(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The estimate promised that it would fit: it says nothing about the others."""
    monkeypatch.setattr(memory_estimate, "free_bytes", lambda device: 2**40)
    policy = tiny_policy("llama")
    policy.sample([5], 1, SamplingParams(max_new_tokens=1))
    with device(policy, lambda number, ids: ids.shape[1] == len(CONTEXT)) as seen:
        policy._sample_together([REQUESTS[1], REQUESTS[0], REQUESTS[3], REQUESTS[2]])
        with pytest.raises(PolicyMemoryError):
            policy.logprobs_batch(SCORES)
        seen.rows.clear()
        policy.sample_batch([REQUESTS[1], REQUESTS[3], REQUESTS[2]])
        assert max(seen.rows) == 8
    assert "from now on" not in caplog.text
    # A lack of memory for many rows at once is learned, also beside it.
    with device(policy, lambda number, ids: ids.shape[1] == len(CONTEXT) or len(ids) > 4) as seen:
        policy._sample_together([REQUESTS[1], REQUESTS[0], REQUESTS[3]])
        policy._sample_together([REQUESTS[2]])
        failures = seen.failures
        policy._sample_together([REQUESTS[2]])
        assert seen.failures == failures
    assert caplog.text.count("from now on") == 1


def test_the_others_of_a_batch_are_not_computed_again() -> None:
    policy = tiny_policy("llama")
    policy.sample([5], 1, SamplingParams(max_new_tokens=1))
    with device(policy, lambda number, ids: ids.shape[1] == len(CONTEXT)) as seen:
        first, second, third = policy._sample_together([REQUESTS[1], REQUESTS[0], REQUESTS[3]])
    assert isinstance(second, PolicyMemoryError)
    check([first, third], policy.sample_batch([REQUESTS[1], REQUESTS[3]]))  # type: ignore[list-item]
    assert sum(rows for rows in seen.rows if rows > 1) < 2 * 9


def test_a_score_that_does_not_fit_is_an_error() -> None:
    policy = tiny_policy("llama")
    twins = policy.logprobs_batch(SCORES)
    with device(policy, lambda number, ids: ids.shape[1] == 11):
        with pytest.raises(
            PolicyMemoryError, match=r"the score of one answer .*46 tokens of context and 12 new"
        ):
            policy.logprobs_batch(SCORES)
        check_scores([policy.logprobs(CONTRAST, [[], [65, 66]])], [twins[1]])
    check_scores(policy.logprobs_batch(SCORES), twins)


def test_rejection_is_left_out_where_its_rows_do_not_fit(llama: TransformersPolicy) -> None:
    policy = TransformersPolicy(llama.model, llama.tokenizer)
    sampling = SamplingParams(max_new_tokens=32, min_new_tokens=32, seed=6)
    request = SampleRequest(CONTEXT, 9, sampling, finalists=2, contrast=CONTRAST)
    (twins,) = llama.sample_batch([request])
    assert {sample.finish_reason for sample in twins} == {"rejected", "length"}
    with device(policy, more_rows_than(5)):
        (samples,) = policy.sample_batch([request])
    assert ids_of([samples]) == ids_of([llama.sample(CONTEXT, 9, sampling)])
    for sample, twin in zip(samples, twins, strict=True):
        assert sample.token_ids[: len(twin.token_ids)] == twin.token_ids


def test_the_prefix_cache_makes_room() -> None:
    policy = tiny_policy("llama")
    policy.max_context = None
    context = torch.randint(0, 256, (300,), generator=torch.Generator().manual_seed(1)).tolist()
    sampling = SamplingParams(max_new_tokens=6, seed=1)
    twins = policy.sample(context, 3, sampling)
    prefixes = policy._engine._reader._prefixes
    assert prefixes.size > 0
    blocks = [weakref.ref(block) for block in prefixes._blocks.values()]
    left: list[int] = []

    def fails(number: int, ids: torch.Tensor) -> bool:
        left.append(sum(block() is not None for block in blocks))
        return number == 2

    with device(policy, fails):
        check([policy.sample(context, 3, sampling)], [twins])
    assert left[:3] == [2, 2, 0]
    assert prefixes.size == sum(block.size for block in prefixes._blocks.values()) > 0


def test_a_prefix_that_can_not_be_kept_costs_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny_policy("llama")
    policy.max_context = None
    context = torch.randint(0, 256, (300,), generator=torch.Generator().manual_seed(1)).tolist()
    sampling = SamplingParams(max_new_tokens=6, seed=1)
    twins = policy.sample(context, 3, sampling)
    policy._engine.release()

    def fail(*args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("icdpo_chains.policies.transformers.prefix_cache._Block", fail)
    check([policy.sample(context, 3, sampling)], [twins])
    assert policy._engine._reader._prefixes.size == 0


def test_nothing_of_the_failed_portion_is_held(llama: TransformersPolicy) -> None:
    policy = TransformersPolicy(llama.model, llama.tokenizer)
    policy.sample([5], 1, SamplingParams(max_new_tokens=1))
    failed: list[weakref.ref[Any]] = []
    held: list[int] = []

    def look(module: object, args: object, kwargs: dict[str, Any]) -> None:
        layers = kwargs["past_key_values"].layers
        if len(kwargs["input_ids"]) == 4:
            failed.extend(map(weakref.ref, layers))
            raise torch.OutOfMemoryError("CUDA out of memory.")
        if failed:
            held.append(sum(layer() is not None for layer in failed))

    hook = policy.model.register_forward_pre_hook(look, with_kwargs=True)
    try:
        policy.sample(CONTEXT, 4, SamplingParams(max_new_tokens=5, min_new_tokens=5, seed=1))
        policy.logprobs(CONTEXT, [[1, 2]] * 4)
    finally:
        hook.remove()
    assert len(failed) == 4
    assert held
    assert held[0] == held[-1] == 0


@pytest.mark.parametrize("failing", [1, 2, 9, 20])
def test_a_stream_says_everything_once(llama: TransformersPolicy, failing: int) -> None:
    policy = TransformersPolicy(llama.model, llama.tokenizer)
    policy.sample([5], 1, SamplingParams(max_new_tokens=1))
    sampling = SamplingParams(max_new_tokens=24, seed=6, min_new_tokens=24, temperature=1.5)
    other = SampleRequest(CONTEXT[:5], 3, sampling)
    twins = llama.sample_batch([SampleRequest(CONTEXT, 1, sampling), other])
    texts: list[str] = []
    request = SampleRequest(CONTEXT, 1, sampling, stream=TokenStream(texts.append))
    with device(policy, lambda number, ids: number == 2 + failing) as seen:
        check(policy.sample_batch([request, other]), twins)
    assert seen.failures == 1
    assert len(texts) == 24
    assert all(later.startswith(text) for text, later in itertools.pairwise(texts))


def test_a_stream_keeps_its_tokens_where_a_smaller_portion_chooses_others(llama: TransformersPolicy) -> None:
    """As on a GPU, which rounds otherwise."""
    policy = TransformersPolicy(llama.model, llama.tokenizer)
    sampling = SamplingParams(max_new_tokens=24, seed=6, min_new_tokens=24)
    stream = TokenStream(lambda text: None)
    run, began = policy._engine.sample, []

    def sample(requests: Sequence[SampleRequest], *others: Any) -> list[list[Sample]]:
        began.append([request.sampling.seed for request in requests])
        if len(began) == 1:
            with device(policy, lambda number, ids: number == 9):
                return run(requests, *others)
        assert len(stream.token_ids) == 8
        other = [replace(request, sampling=replace(sampling, seed=7)) for request in requests]
        return run(other, *others)

    policy.sample([5], 1, SamplingParams(max_new_tokens=1))
    policy._engine.sample = sample  # type: ignore[method-assign]
    ((found,),) = policy.sample_batch([SampleRequest(CONTEXT, 1, sampling, stream=stream)])
    assert len(began) == 3
    assert found.token_ids == tuple(stream.token_ids)
    assert len(found.token_ids) == 24
    assert found.token_ids[:8] == llama.sample(CONTEXT, 1, sampling)[0].token_ids[:8]


def test_candidates_without_a_seed_differ(llama: TransformersPolicy) -> None:
    policy = TransformersPolicy(llama.model, llama.tokenizer)
    policy.sample([5], 1, SamplingParams(max_new_tokens=1))
    with device(policy, more_rows_than(2)):
        samples = policy.sample(CONTEXT, 8, SamplingParams(max_new_tokens=30, min_new_tokens=30, top_p=1.0))
    assert len({sample.token_ids for sample in samples}) == 8


def test_what_is_cancelled_is_not_computed_again(llama: TransformersPolicy) -> None:
    policy = TransformersPolicy(llama.model, llama.tokenizer)
    policy.sample([5], 1, SamplingParams(max_new_tokens=1))
    left = threading.Event()

    def fails(number: int, ids: torch.Tensor) -> bool:
        if number == 4:
            left.set()
        return number == 4

    asked = [replace(REQUESTS[0], cancelled=left), REQUESTS[1]]
    with device(policy, fails) as seen:
        gone, kept = policy._sample_together(asked)
    assert gone == []
    assert ids_of([kept]) == ids_of(llama.sample_batch([REQUESTS[1]]))  # type: ignore[list-item]
    assert set(seen.rows[3:]) == {1}


def test_waiting_callers_are_answered_after_it(llama: TransformersPolicy) -> None:
    policy = TransformersPolicy(llama.model, llama.tokenizer)
    asked = [replace(REQUESTS[i % 4], context=[*REQUESTS[i % 4].context, i]) for i in range(8)]
    alone = [llama.sample_batch([request]) for request in asked]
    with device(policy, more_rows_than(4)), ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda request: policy.sample_batch([request]), asked))
    for samples, twins in zip(found, alone, strict=True):
        check(samples, twins)


def test_another_error_is_no_lack_of_memory(llama: TransformersPolicy) -> None:
    policy = TransformersPolicy(llama.model, llama.tokenizer)
    policy.sample([5], 1, SamplingParams(max_new_tokens=1))
    passes: list[int] = []

    def fail(module: object, args: object, kwargs: dict[str, Any]) -> None:
        passes.append(1)
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    hook = policy.model.register_forward_pre_hook(fail, with_kwargs=True)
    try:
        with pytest.raises(RuntimeError, match="illegal"):
            policy.sample(CONTEXT, 4, SamplingParams(max_new_tokens=5))
    finally:
        hook.remove()
    assert len(passes) == 1
    assert policy._portions._most == portions._MOST


def rows(requests: Sequence[Request]) -> Load:
    """A device for ten rows."""
    count = sum(map(rows_of, requests))
    return Load(count / 10, count * 2**30, 10 * 2**30, "cuda:0")


def test_what_does_not_fit_by_the_estimate_is_not_tried() -> None:
    ours, ran = Portions("m", rows, lambda: None), []

    def run(requests: Sequence[SampleRequest]) -> list[list[Sample]]:
        ran.append([(request.context[0], request.first, request.n) for request in requests])
        return [
            [Sample((request.first + i,), (0.0,), "", "stop") for i in range(request.n)]
            for request in requests
        ]

    requests = [SampleRequest((i,), n, SamplingParams(seed=1)) for i, n in enumerate((4, 5, 1, 30, 2))]
    assert ours.fitting(requests) == 2
    assert ours.fitting(requests[3:]) == 1
    results = ours.sample(requests, run)
    for request, own in zip(requests, results, strict=True):
        assert not isinstance(own, PolicyMemoryError)
        assert [sample.token_ids for sample in own] == [(i,) for i in range(request.n)]
    assert all(sum(n for *_, n in portion) <= 9 for portion in ran)
    assert ran == [
        [(0, 0, 4), (1, 0, 5)],
        [(2, 0, 1)],
        *([(3, first, n)] for first, n in ((0, 7), (7, 8), (15, 7), (22, 8))),
        [(4, 0, 2)],
    ]


def test_the_limit_is_a_share_of_what_is_free() -> None:
    """Another process took the memory for a while: what it gives back is used again."""
    free = [10]

    def load(requests: Sequence[Request]) -> Load:
        count = sum(map(rows_of, requests))
        return Load(count / free[0], count, free[0], "cuda:0")

    ours, ran = Portions("m", load, lambda: None), []

    def run(requests: Sequence[SampleRequest]) -> list[list[Sample]]:
        count = sum(map(rows_of, requests))
        if count > free[0] / 2:  # the estimate promises too much
            raise torch.OutOfMemoryError("CUDA out of memory.")
        ran.append(count)
        return [[Sample((1,), (0.0,), "", "stop")] * request.n for request in requests]

    asked = [SampleRequest((1,), 8, SamplingParams(seed=1))]
    ours.sample(asked, run)
    assert ran == [4, 4]
    free[0] = 2
    ours.sample(asked, run)
    assert ran[2:] == [1] * 8
    free[0] = 20
    ours.sample(asked, run)
    assert ran[10:] == [8]
