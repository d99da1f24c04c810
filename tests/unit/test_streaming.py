"""A streamed answer: the pieces joined are the answer that is not streamed, and the score comes last."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any

import pytest

from icdpo_chains import errors
from icdpo_chains.foundation.concurrency import cancellation
from icdpo_chains.icdpo import ICDPO
from icdpo_chains.policies.fake import FakePolicy
from icdpo_chains.policies.sampling import Sample, SampleRequest, SamplingParams
from icdpo_chains.progress import Progress
from icdpo_chains.prompts.formats import PlainFormat, PlainTemplate
from icdpo_chains.streaming import AnswerChunk, TextPieces

from .fake_core import KIND, RUDE, make_core

SAMPLING = SamplingParams(max_new_tokens=40, seed=5)
QUESTION = "I am sad. What now?"


async def collected(icdpo: ICDPO, **options: Any) -> list[AnswerChunk]:
    return [chunk async for chunk in icdpo.astream(QUESTION, **options)]


def check(icdpo: ICDPO, chunks: Sequence[AnswerChunk], **options: Any) -> None:
    result = icdpo.generate(QUESTION, **options)
    assert "".join(chunk.text for chunk in chunks) == result.text
    assert all(chunk.result is None and (chunk.text or chunk.thought) for chunk in chunks[:-1])
    assert [chunk.thought for chunk in chunks if chunk.thought] == list(filter(None, [result.best.reasoning]))
    assert chunks[-1].result is not None
    assert replace(chunks[-1].result, timings={}) == replace(result, timings={})


@pytest.mark.parametrize("decoding", ["sample", "guided"])
@pytest.mark.parametrize("stop", [(), ("e",), ("th", "an")])
def test_the_pieces_joined_are_the_answer(decoding: Any, stop: tuple[str, ...]) -> None:
    icdpo = make_core((), sampling=replace(SAMPLING, decoding=decoding, stop=stop))
    check(icdpo, list(icdpo.stream(QUESTION, n=1)), n=1)
    check(icdpo, asyncio.run(collected(icdpo, n=1)), n=1)


def test_one_candidate_comes_in_pieces_and_several_come_whole() -> None:
    icdpo = make_core()
    assert len(list(icdpo.stream(QUESTION, n=1))) > 10
    (whole,) = icdpo.stream(QUESTION, n=2)
    assert whole.text == KIND


def test_an_answer_prefix_is_not_a_part_of_the_stream() -> None:
    template = PlainTemplate(answer_prefix="A: ")
    for answer in ("A: yes", "A, no", "A"):
        policy = FakePolicy([answer])
        icdpo = make_core()
        icdpo.policy, icdpo.format = policy, PlainFormat(policy.tokenizer, template)
        chunks = list(icdpo.stream(QUESTION, n=1))
        assert "".join(chunk.text for chunk in chunks) == answer.removeprefix("A: ")


def test_a_policy_that_can_t_stream_gives_the_answer_whole() -> None:
    class Alone(FakePolicy):
        def _stream(self, request: SampleRequest, samples: Sequence[Sample]) -> None:
            pass

    icdpo = make_core()
    icdpo.policy = Alone([KIND])
    (whole,) = icdpo.stream(QUESTION, n=1)
    assert whole.text == KIND


@pytest.mark.parametrize("n", [1, 2])
def test_the_thought_comes_once_and_before_the_text(n: int) -> None:
    icdpo = make_core((f"<think>Hm.</think>{KIND}",), n=n)
    for chunks in (list(icdpo.stream(QUESTION, seed=5)), asyncio.run(collected(icdpo, seed=5))):
        check(icdpo, chunks, seed=5)
        assert chunks[0].thought == "Hm."
        assert (chunks[0].text == "") == (n == 1)


@pytest.mark.parametrize("name", ["on_text", "on_thought"])
def test_a_stream_has_no_other_reader_of_its_texts(name: str) -> None:
    icdpo = make_core()
    with pytest.raises(TypeError, match=f"take no {name}: read the chunks"):
        next(icdpo.stream(QUESTION, n=1, **{name: print}))
    with pytest.raises(TypeError, match=f"take no {name}"):
        asyncio.run(collected(icdpo, n=1, **{name: print}))


def test_errors_arrive_where_the_chunks_do() -> None:
    icdpo = make_core()
    with pytest.raises(errors.InvalidInputError):
        next(icdpo.stream(" "))
    with pytest.raises(ValueError, match="n is 0"):
        next(icdpo.stream(QUESTION, n=0))
    with pytest.raises(TypeError, match="wings"):
        asyncio.run(collected(icdpo, wings=2))


def test_progress_is_reported_in_the_reader_s_thread() -> None:
    reported: list[tuple[str, int]] = []

    def on_progress(progress: Progress) -> None:
        reported.append((progress.stage, threading.get_ident()))

    list(make_core().stream(QUESTION, n=1, on_progress=on_progress))
    assert reported == [(stage, threading.get_ident()) for stage in ("retrieved", "sampled", "scored")]


class Endless(FakePolicy):
    """Samples until its caller has had enough."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = threading.Event()

    def sample_batch(self, requests: Sequence[SampleRequest]) -> list[list[Sample]]:
        (request,) = requests
        assert request.stream is not None
        event = cancellation.get()
        assert event is not None
        request.stream.grown([5], "first", ())
        assert event.wait(30)
        self.stopped.set()
        raise CancelledError


def test_a_reader_that_leaves_frees_the_place() -> None:
    icdpo = make_core()
    icdpo.policy = policy = Endless()
    chunks = icdpo.stream(QUESTION, n=1)
    assert next(chunks).text == "first"
    chunks.close()  # type: ignore[attr-defined]
    assert policy.stopped.wait(30)


def test_a_caller_that_is_taken_back_takes_the_stream_back() -> None:
    icdpo = make_core()
    icdpo.policy = policy = Endless()
    event = threading.Event()
    token = cancellation.set(event)
    try:
        chunks = icdpo.stream(QUESTION, n=1)
        assert next(chunks).text == "first"
        event.set()
        with pytest.raises(CancelledError):
            next(chunks)
    finally:
        cancellation.reset(token)
    assert policy.stopped.wait(30)


async def test_a_task_that_is_cancelled_frees_the_place() -> None:
    icdpo = make_core()
    icdpo.policy = policy = Endless()
    task = asyncio.ensure_future(collected(icdpo, n=1))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(policy.stopped.wait, 30)


def test_a_text_that_does_not_go_on_adds_no_piece() -> None:
    pieces = TextPieces()
    assert [pieces.piece(text) for text in ("on", "one", "o", "two", "one!")] == ["on", "e", "", "", "!"]


def test_a_rude_answer_streams_too() -> None:
    result = list(make_core([RUDE]).stream(QUESTION, n=1))[-1].result
    assert result is not None
    assert result.text == RUDE
