"""A question on the page: progress, the answer, stopping, limits."""

import asyncio
import itertools
import threading
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from icdpo_chains import ICDPO, FakePolicy, FixedDemonstrations, ICDPOConfig, Sample, SamplingParams
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.policies.sampling import SampleRequest
from icdpo_chains.policies.token_stream import TokenStream
from icdpo_chains.server.errors import APIError
from icdpo_chains.server.limits import ServerLimits
from icdpo_chains.server.queue import Queue
from icdpo_chains.ui.asking import AnswerSoFar, Stopped, answering, bare_answer
from icdpo_chains.ui.backend import Backend
from icdpo_chains.ui.session import Exchange, Session

EGG = "How do I boil an egg?"


async def asked(backend: Backend, session: Session, question: str = EGG, **options: Any) -> list[Any]:
    return [
        event
        async for event in answering(backend, session, session.asked(question), **{"bare": False, **options})
    ]


async def test_stages_are_reported_and_the_answer_comes_last(backend: Backend, session: Session) -> None:
    *lines, exchange = await asked(backend, session, seed=3)
    assert [line.split(" in ")[0] for line in lines if " of 3 " not in line] == [
        "Waiting for the model, then looking for demonstrations ...",
        "Retrieved 2 demonstrations",
        "Sampled 3 candidates",
        "Scored",
    ]
    assert isinstance(exchange, Exchange)
    assert exchange.bare is None
    assert exchange.result.seed == 3
    assert exchange.prompt == session.asked(EGG)
    assert session.running is None


async def test_candidates_are_counted_as_they_end(backend: Backend, session: Session) -> None:
    bigrams = ICDPO.from_config(backend.settings, policy=FakePolicy(), store=backend.store)
    own = replace(backend, icdpo=bigrams)
    *lines, exchange = await asked(own, session, seed=3)
    assert [line for line in lines if " of 3 " in line] == [
        f"Sampled {count} of 3 candidates ..." for count in (1, 2, 3)
    ]
    assert lines[-1].startswith("Scored")
    # The slow twin: the page answers as `generate` does.
    expected = bigrams.generate(EGG, seed=3)
    assert replace(exchange.result, timings={}) == replace(expected, timings={})


class StepByStep(FakePolicy):
    """Samples a token whenever it may."""

    def __init__(self) -> None:
        super().__init__(["Eight minutes."])
        self.may = threading.Semaphore(0)

    def sample_batch(self, requests: Sequence[SampleRequest]) -> list[list[Sample]]:
        (request,) = requests
        stream = request.stream
        assert stream is not None
        may = self.may

        class Stepping(TokenStream):
            def grown(self, token_ids: Sequence[int], text: str, stop: Sequence[str]) -> None:
                assert may.acquire(timeout=20)
                stream.grown(token_ids, text, stop)

        return super().sample_batch([replace(request, stream=Stepping(stream._on_text))])


async def test_the_only_candidate_is_shown_as_it_grows(backend: Backend, session: Session) -> None:
    policy = StepByStep()
    own = replace(backend, icdpo=ICDPO.from_config(backend.settings, policy=policy, store=backend.store))
    session.settings = {"n": 1}
    texts, last = [], None
    async with aclosing(answering(own, session, session.asked(EGG), bare=False)) as events:
        async for event in events:
            policy.may.release()
            if isinstance(event, AnswerSoFar):
                texts.append(event.text)
            last = event
    assert isinstance(last, Exchange)
    assert len(texts) > 3
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
    assert texts[-1] == last.result.text == "Eight minutes."


async def test_a_slow_reader_gets_the_latest_text(backend: Backend, session: Session) -> None:
    session.settings = {"n": 1}
    policy = StepByStep()
    own = replace(backend, icdpo=ICDPO.from_config(backend.settings, policy=policy, store=backend.store))
    texts = []
    async with aclosing(answering(own, session, session.asked(EGG), bare=False)) as events:
        async for event in events:
            if isinstance(event, str) and event.startswith("Retrieved"):
                # Only now may tokens come; all of them come before the reader takes the next event.
                policy.may.release(100)
                assert session.running is not None
                await asyncio.wait({session.running})
            if isinstance(event, AnswerSoFar):
                texts.append(event.text)
    assert texts == [event.result.text]


async def test_of_several_candidates_none_is_shown_before_the_best_is_known(
    backend: Backend, session: Session
) -> None:
    assert not any(isinstance(event, AnswerSoFar) for event in await asked(backend, session))


async def test_answers_are_counted(backend: Backend, session: Session) -> None:
    counted: list[Any] = []
    *_, exchange = await asked(replace(backend, on_answer=counted.append), session)
    assert counted == [exchange.result]


async def test_the_settings_of_the_visitor_apply(backend: Backend, session: Session) -> None:
    session.settings = {"n": 2, "aggregate": "mean", "against": "base", "seed": 5}
    *_, exchange = await asked(backend, session)
    result = exchange.result
    assert (len(result.candidates), result.aggregate, result.against, result.seed) == (2, "mean", "base", 5)
    *_, other = await asked(backend, Session())
    assert (len(other.result.candidates), other.result.aggregate) == (3, "sum")


async def test_the_answer_without_demonstrations(backend: Backend, session: Session) -> None:
    policy = FakePolicy(lambda context: ["with"] if "rice" in context else ["without"])
    own = ICDPO.from_config(backend.settings, policy=policy, store=backend.store)
    *lines, exchange = await asked(replace(backend, icdpo=own), session, bare=True)
    assert (exchange.result.text, exchange.bare.text) == ("with", "without")
    assert "Answering without demonstrations ..." in lines


def test_the_bare_answer_is_that_of_the_bare_context() -> None:
    """The slow twin: one sample of the policy in the context of the question alone."""
    policy = FakePolicy()
    sampling = SamplingParams(max_new_tokens=12, temperature=0.7)
    icdpo = ICDPO(policy, FixedDemonstrations([]), sampling=sampling)
    prompt = icdpo.conversation(EGG)
    context = icdpo.format.context(prompt, [], None)
    stop = icdpo.format.stop
    (sample,) = policy.sample(context, 1, replace(sampling, seed=9, stop=stop))
    answer = bare_answer(icdpo, prompt, 9)
    assert answer.text == icdpo.format.answer_text(sample.text)
    assert answer.finish_reason == sample.finish_reason == "length"


class SlowPolicy(FakePolicy):
    """Samples only after it may."""

    def __init__(self) -> None:
        super().__init__(["late"])
        self.may, self.began = threading.Event(), threading.Event()

    def sample(self, context: Sequence[int], n: int, sampling: SamplingParams) -> list[Sample]:
        self.began.set()
        assert self.may.wait(20)
        return super().sample(context, n, sampling)


@pytest.fixture
def slow(backend: Backend) -> Backend:
    """A backend whose answers never end by themselves."""
    return replace(
        backend, icdpo=ICDPO.from_config(backend.settings, policy=SlowPolicy(), store=backend.store)
    )


async def until_sampling(backend: Backend) -> None:
    await asyncio.to_thread(backend.icdpo.policy.began.wait, 20)  # type: ignore[attr-defined]


def end(backend: Backend) -> None:
    backend.icdpo.policy.may.set()  # type: ignore[attr-defined]


async def test_an_answer_can_be_stopped(slow: Backend, session: Session) -> None:
    answer = asyncio.ensure_future(asked(slow, session))
    await until_sampling(slow)
    session.stop()
    with pytest.raises(Stopped):
        await answer
    assert session.running is None
    end(slow)


async def test_a_new_conversation_stops_the_question(slow: Backend, session: Session) -> None:
    answer = asyncio.ensure_future(asked(slow, session))
    await until_sampling(slow)
    session.begin_again()
    with pytest.raises(Stopped):
        await answer
    assert session.running is None
    end(slow)


async def test_a_new_conversation_drops_a_question_that_was_not_started(
    backend: Backend, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = Backend.icdpo_of

    def built_slowly(self: Backend, config: ICDPOConfig) -> ICDPO:
        session.begin_again()
        return built(self, config)

    monkeypatch.setattr(Backend, "icdpo_of", built_slowly)
    with pytest.raises(Stopped):
        await asked(backend, session)
    assert (session.last, session.running) == (None, None)


async def test_an_answer_to_an_earlier_conversation_is_dropped(backend: Backend, session: Session) -> None:
    """The question has been answered by the time the new conversation begins."""

    async def late() -> None:
        async for event in answering(backend, session, session.asked(EGG), bare=False):
            if str(event).startswith("Scored"):
                assert session.running is not None
                await asyncio.wait({session.running})
                session.begin_again()

    with pytest.raises(Stopped):
        await late()


async def test_a_visitor_behind_others_is_told(slow: Backend, session: Session) -> None:
    first = asyncio.ensure_future(asked(slow, session))
    await until_sampling(slow)
    other = Session()
    async with aclosing(answering(slow, other, other.asked(EGG), bare=False)) as events:
        await anext(events)
        line = await anext(events)
    assert "Sampling 3 candidates, after or with 1 other question ..." in line
    end(slow)
    *lines, _ = await first
    assert any(line.endswith("Sampling 3 candidates ...") for line in lines)


async def test_leaving_cancels_the_answer(slow: Backend, session: Session) -> None:
    async with aclosing(answering(slow, session, session.asked(EGG), bare=False)) as events:
        await anext(events)
        await anext(events)
        task = session.running
        assert task is not None
    await asyncio.sleep(0)
    assert task.cancelled() or task.cancelling()
    end(slow)


async def test_one_page_asks_one_question_at_a_time(slow: Backend, session: Session) -> None:
    answer = asyncio.ensure_future(asked(slow, session))
    await until_sampling(slow)
    with pytest.raises(InvalidInputError, match="still being answered"):
        await asked(slow, session)
    end(slow)
    assert (await answer)[-1].result.text == "late"


async def test_the_queue_is_bounded(slow: Backend, session: Session) -> None:
    narrow = replace(slow, queue=Queue(1, 300.0))
    answer = asyncio.ensure_future(asked(narrow, session))
    await until_sampling(narrow)
    with pytest.raises(APIError, match="the limit is 1: try again later"):
        await asked(narrow, Session())
    end(narrow)
    await answer


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 33}, "n is 33, and the limit of this server is 32"),
        ({"k": 33}, "k is 33, and the limit"),
        ({"max_tokens": 2000}, "max_tokens is 2000, and the limit"),
        ({"temperature": -1}, "temperature"),
        ({"against": "nothing"}, "against"),
    ],
    ids=["n", "k", "max_tokens", "temperature", "against"],
)
async def test_settings_out_of_range_are_refused(
    backend: Backend, session: Session, settings: dict[str, Any], message: str
) -> None:
    session.settings = settings
    with pytest.raises(InvalidInputError, match=message):
        await asked(backend, session)


async def test_a_long_conversation_is_refused(backend: Backend, session: Session) -> None:
    tight = replace(backend, limits=ServerLimits(max_characters=10))
    with pytest.raises(InvalidInputError, match="21 characters, and the limit of this server is 10"):
        await asked(tight, session)


def test_the_built_icdpos_are_bounded(backend: Backend) -> None:
    built = [backend.icdpo_of(ICDPOConfig(n=3, k=k)) for k in range(3, 30)]
    assert len(backend._built) == 16
    assert backend.icdpo_of(ICDPOConfig(n=3, k=29)) is built[-1]
    assert backend.icdpo_of(backend.settings) is backend.icdpo
    assert {one.policy for one in built} == {backend.icdpo.policy}
