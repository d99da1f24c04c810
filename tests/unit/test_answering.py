"""Questions that are answered together, by one call or by many callers at once, on a tiny model."""

import asyncio
import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from icdpo_chains import ICDPO, FixedDemonstrations, ICDPOResult, Progress, SamplingParams
from icdpo_chains.errors import PolicyMemoryError
from icdpo_chains.policies.sampling import Sample, SampleRequest
from icdpo_chains.policies.transformers.policy import TransformersPolicy

from .fake_core import DEMONSTRATIONS, make_core
from .policies.conftest import tiny_policy

QUESTIONS = ["Why?", "How do I apologise to a friend?", "Now tell me about the sea.", "x"]


@pytest.fixture(scope="module")
def icdpo() -> ICDPO:
    policy = tiny_policy("llama")
    retriever = FixedDemonstrations(DEMONSTRATIONS, k=1)
    # The tiny model reads 256 tokens.
    return ICDPO(policy, retriever, n=3, sampling=SamplingParams(max_new_tokens=12), format=None)


def alike(result: ICDPOResult) -> list[tuple[str, tuple[int, ...], object]]:
    """The candidates in the order in which they were sampled, whose scores may differ by rounding."""
    candidates = sorted(result.candidates, key=lambda candidate: candidate.index)
    return [(item.text, item.token_ids, pytest.approx(item.score, abs=1e-4)) for item in candidates]


def test_a_batch_is_sampled_together_and_equals_single_answers(icdpo: ICDPO) -> None:
    asked: list[int] = []

    class Counting(TransformersPolicy):
        def sample_batch(self, requests: Sequence[SampleRequest]) -> list[list[Sample]]:
            asked.append(len(requests))
            return super().sample_batch(requests)

    counting = ICDPO(
        Counting(icdpo.policy.model, icdpo.policy.tokenizer),  # type: ignore[attr-defined]
        icdpo.retriever,
        n=3,
        sampling=icdpo.sampling,
    )
    results = counting.generate_batch(QUESTIONS, seed=4)
    assert asked == [4]
    assert [alike(result) for result in results] == [alike(icdpo.generate(q, seed=4)) for q in QUESTIONS]


def test_progress_is_reported_for_each_question(icdpo: ICDPO) -> None:
    told: list[Progress] = []
    results = icdpo.generate_batch(QUESTIONS, seed=4, on_progress=told.append)
    assert [progress.stage for progress in told] == ["retrieved"] * 4 + ["sampled"] * 4 + ["scored"] * 4
    assert [progress.candidates for progress in told[8:]] == [result.candidates for result in results]
    for result in results:
        assert sum(value for name, value in result.timings.items() if name != "total") == pytest.approx(
            result.timings["total"]
        )


def test_a_question_that_fails_while_sampling_leaves_the_others_their_answers(
    icdpo: ICDPO, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = icdpo.policy._engine.sample  # type: ignore[attr-defined]
    broken = tuple(icdpo.sample(QUESTIONS[1], icdpo.retrieve(QUESTIONS[1]), seed=1).contexts.chosen)

    def sample(requests: Sequence[SampleRequest], *others: object) -> list[list[Sample]]:
        if any(tuple(request.context) == broken for request in requests):
            raise RuntimeError("a fault")
        return run(requests, *others)

    monkeypatch.setattr(icdpo.policy._engine, "sample", sample)  # type: ignore[attr-defined]
    outcomes = icdpo.generate_batch(QUESTIONS, seed=4, return_exceptions=True)
    assert [isinstance(outcome, RuntimeError) for outcome in outcomes] == [False, True, False, False]
    with pytest.raises(RuntimeError, match="a fault"):
        icdpo.generate_batch(QUESTIONS, seed=4)


def test_a_question_that_the_memory_can_not_hold_leaves_the_others_together(
    icdpo: ICDPO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icdpo_chains.policies.transformers.device_memory.release_unused", lambda: None)
    engine = icdpo.policy._engine  # type: ignore[attr-defined]
    broken = tuple(icdpo.sample(QUESTIONS[1], icdpo.retrieve(QUESTIONS[1]), seed=1).contexts.chosen)
    twins = icdpo.generate_batch(QUESTIONS * 2, seed=4)
    run, sizes = engine.sample, []

    def sample(requests: Sequence[SampleRequest], *others: object) -> list[list[Sample]]:
        if any(tuple(request.context) == broken for request in requests):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        sizes.append(len(requests))
        return run(requests, *others)

    monkeypatch.setattr(engine, "sample", sample)
    # A policy of its own: it learns how much the memory holds.
    policy = TransformersPolicy(icdpo.policy.model, icdpo.policy.tokenizer)  # type: ignore[attr-defined]
    policy._engine = engine
    own = ICDPO(policy, icdpo.retriever, n=3, sampling=icdpo.sampling)
    questions = [QUESTIONS[0], QUESTIONS[1], *QUESTIONS[2:], *[QUESTIONS[0], QUESTIONS[2]] * 2]
    outcomes = own.generate_batch(questions, seed=4, return_exceptions=True)
    assert [isinstance(outcome, PolicyMemoryError) for outcome in outcomes] == [False, True, *[False] * 6]
    by_question = dict(zip(QUESTIONS, twins, strict=False))
    for question, outcome in zip(questions, outcomes, strict=True):
        if isinstance(outcome, ICDPOResult):
            assert alike(outcome) == alike(by_question[question])
    assert max(sizes[-3:]) == 4, "the half without the question is sampled together"


def test_a_question_that_cannot_be_asked_leaves_the_others_together(
    icdpo: ICDPO, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = icdpo.policy._engine.sample  # type: ignore[attr-defined]
    sizes: list[int] = []

    def sample(requests: Sequence[SampleRequest], *others: object) -> list[list[Sample]]:
        sizes.append(len(requests))
        return run(requests, *others)

    monkeypatch.setattr(icdpo.policy._engine, "sample", sample)  # type: ignore[attr-defined]
    prompts = [QUESTIONS[0], "", QUESTIONS[1], "too long " * 500, QUESTIONS[2]]
    outcomes = icdpo.generate_batch(prompts, seed=4, return_exceptions=True)
    assert [type(outcome).__name__ for outcome in outcomes] == [
        "ICDPOResult",
        "InvalidInputError",
        "ICDPOResult",
        "ContextOverflowError",
        "ICDPOResult",
    ]
    assert sizes == [3]


def test_64_callers_at_once_get_each_their_own_answer(icdpo: ICDPO) -> None:
    asked = [(f"Question {i}?", i) for i in range(64)]
    alone = [alike(icdpo.generate(question, seed=seed)) for question, seed in asked]
    sizes: list[int] = []
    policy: TransformersPolicy = icdpo.policy  # type: ignore[assignment]
    run = policy._batches._run

    def counted(requests: Sequence[SampleRequest]) -> list[list[Sample]]:
        sizes.append(len(requests))
        return run(requests)

    policy._batches._run = counted
    begin = threading.Barrier(64)

    def ask(question: str, seed: int) -> ICDPOResult:
        begin.wait()
        return icdpo.generate(question, seed=seed)

    try:
        with ThreadPoolExecutor(64) as pool:
            results = list(pool.map(ask, *zip(*asked, strict=True)))
    finally:
        policy._batches._run = run
    assert [alike(result) for result in results] == alone
    assert sum(sizes) == 64
    assert max(sizes) > 1


async def test_64_tasks_of_which_half_are_cancelled(icdpo: ICDPO) -> None:
    tasks = [asyncio.create_task(icdpo.agenerate(f"Question {i}?", seed=i)) for i in range(64)]
    await asyncio.sleep(0.05)
    for task in itertools.islice(tasks, 0, None, 2):
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for i, outcome in enumerate(outcomes):
        if isinstance(outcome, ICDPOResult):
            assert alike(outcome) == alike(icdpo.generate(f"Question {i}?", seed=i))
        else:
            assert i % 2 == 0
            assert isinstance(outcome, asyncio.CancelledError)
    assert sum(isinstance(outcome, ICDPOResult) for outcome in outcomes) >= 32


def test_without_a_seed_the_questions_of_a_batch_differ(icdpo: ICDPO) -> None:
    first, second = icdpo.generate_batch(["Why?", "Why?"])
    assert first.seed != second.seed
    assert alike(icdpo.generate("Why?", sampling=replace(icdpo.sampling, seed=first.seed))) == alike(first)


def test_early_rejection_returns_the_best_of_those_that_were_left(
    icdpo: ICDPO, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = icdpo.generate(QUESTIONS[1], n=12, seed=3)
    by_index = {candidate.index: candidate for candidate in full.candidates}

    def scored_twice(*args: object) -> None:
        raise AssertionError("the candidates were scored while they were sampled")

    monkeypatch.setattr(icdpo.policy, "logprobs", scored_twice)
    result = icdpo.generate(QUESTIONS[1], n=12, seed=3, finalists=2)
    left = [candidate for candidate in result.candidates if candidate.finish_reason != "rejected"]
    assert 2 <= len(left) < 12
    assert result.candidates[: len(left)] == tuple(left), "those that were rejected stand last"
    for candidate in result.candidates:
        twin = by_index[candidate.index]
        if candidate in left:
            assert candidate.token_ids == twin.token_ids
            assert candidate.score == pytest.approx(twin.score, abs=1e-4)
        else:
            assert candidate.token_ids == twin.token_ids[: candidate.num_tokens]
            assert candidate.score == float("-inf")
    assert result.usage.completion_tokens < full.usage.completion_tokens


def test_as_many_finalists_as_candidates_are_all_of_them(icdpo: ICDPO) -> None:
    assert alike(icdpo.generate("Why?", seed=1, finalists=3)) == alike(icdpo.generate("Why?", seed=1))
    for finalists, kind in ((0, ValueError), (True, TypeError), (10**9, ValueError)):
        with pytest.raises(kind, match="finalists"):
            icdpo.generate("Why?", finalists=finalists)
        with pytest.raises(kind, match="finalists"):
            ICDPO(icdpo.policy, icdpo.retriever, finalists=finalists)


def test_a_policy_that_cannot_reject_samples_all_to_the_end() -> None:
    plain = make_core(None, n=6, sampling=SamplingParams(max_new_tokens=12))
    assert alike(plain.generate("Why?", seed=1, finalists=1)) == alike(plain.generate("Why?", seed=1))
