"""`answering`: answers a visitor's question, and reports each stage on the way."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.foundation.printable import counted
from icdpo_chains.messages import Message
from icdpo_chains.policies.policy import sampled
from icdpo_chains.policies.sampling import SampleRequest
from icdpo_chains.progress import Progress, Stages
from icdpo_chains.prompts.contexts import Contexts
from icdpo_chains.question import Question
from icdpo_chains.reasoning.thoughts import ThoughtReader
from icdpo_chains.ui.session import Exchange

if TYPE_CHECKING:
    from icdpo_chains.draft import Answer
    from icdpo_chains.icdpo import ICDPO
    from icdpo_chains.result import ICDPOResult
    from icdpo_chains.ui.backend import Backend
    from icdpo_chains.ui.session import Session

__all__ = ["AnswerSoFar", "Stopped", "answering", "bare_answer", "stage_line"]


class Stopped(Exception):
    """The visitor has stopped the answer."""


@dataclass(frozen=True)
class AnswerSoFar:
    """The beginning of an answer that is still being sampled.

    Attributes:
        text: The text, without the model's thought.
    """

    text: str


async def answering(
    backend: Backend, session: Session, prompt: Sequence[Message], *, bare: bool, seed: int | None = None
) -> AsyncGenerator[str | AnswerSoFar | Exchange, None]:
    """Answers a question in the server's queue; yields a line for each stage, then the exchange.

    An answer that is the only candidate is also yielded as it grows. A reader that is slower than the model
    receives the latest text only. Closing the generator cancels the answer; so does `Session.stop`.

    Args:
        backend: Answers the question.
        session: The visitor's session, which has the settings.
        prompt: The conversation up to the question.
        bare: Whether to answer without demonstrations too.
        seed: Overrides the seed of the settings.

    Raises:
        Stopped: The visitor has stopped the answer, or begun another conversation.
        APIError: The queue is full, or the answer took too long.
        ICDPOError, TypeError, ValueError: See `ICDPO.generate`.
    """
    if session.running is not None:
        raise InvalidInputError("a question of this page is still being answered: wait for it, or stop it")
    chat = session.chats
    backend.check_length(prompt)
    config = backend.configured(session.settings)
    icdpo = await asyncio.to_thread(backend.icdpo_of, config)
    loop = asyncio.get_running_loop()
    events: asyncio.Queue[str | AnswerSoFar] = asyncio.Queue()

    def told(event: str | AnswerSoFar) -> None:
        loop.call_soon_threadsafe(events.put_nowait, event)

    def work() -> Exchange:
        result = _answered(icdpo, prompt, seed, told, lambda: backend.queue.taken - 1)
        backend.on_answer(result)
        if not bare:
            return Exchange(tuple(prompt), result)
        told("Answering without demonstrations ...")
        return Exchange(tuple(prompt), result, bare_answer(icdpo, prompt, result.seed))

    if session.chats != chat:  # meanwhile, when there was nothing to stop
        raise Stopped
    task = session.running = backend.queue.start(work)
    try:
        yield "Waiting for the model, then looking for demonstrations ..."
        while not task.done():
            coming = asyncio.ensure_future(events.get())
            await asyncio.wait({coming, task}, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                for event in _latest(coming.result(), events):
                    yield event
            coming.cancel()
        while not events.empty():
            for event in _latest(events.get_nowait(), events):
                yield event
        if task.cancelled() or session.chats != chat:
            raise Stopped
        yield task.result()
    finally:
        session.running = None
        task.cancel()


def _latest(
    first: str | AnswerSoFar, events: asyncio.Queue[str | AnswerSoFar]
) -> Iterator[str | AnswerSoFar]:
    """Yields the waiting events; a text that a longer one follows is left out."""
    waiting = [first]
    while not events.empty():
        waiting.append(events.get_nowait())
    for event, following in itertools.zip_longest(waiting, waiting[1:]):
        if not (isinstance(event, AnswerSoFar) and isinstance(following, AnswerSoFar)):
            yield event


def _answered(
    icdpo: ICDPO,
    prompt: Sequence[Message],
    seed: int | None,
    told: Callable[[str | AnswerSoFar], None],
    others: Callable[[], int],
) -> ICDPOResult:
    """Does what `ICDPO.generate` does, and counts the candidates as they end."""
    stages = Stages(lambda progress: told(stage_line(progress, icdpo.n, others())))
    ended = itertools.count(1)

    def count() -> None:
        told(f"Sampled {min(next(ended), icdpo.n)} of {counted(icdpo.n, 'candidate')} ...")

    conversation = icdpo.conversation(prompt)
    found = icdpo.retrieve(conversation)
    stages.done("retrieved", demonstrations=tuple(found))
    question = icdpo.ask(conversation, found, seed=seed).watched(count)
    (draft,) = icdpo.sample_questions([question.streamed(lambda text: told(AnswerSoFar(text)))])
    stages.done("sampled", answers=draft.answers)
    result = icdpo.select(draft)
    stages.done("scored", candidates=result.candidates)
    return replace(result, timings=stages.timings())


def stage_line(progress: Progress, n: int, others: int = 0) -> str:
    """Returns the finding of a completed stage, and the name of the next stage.

    Args:
        progress: The completed stage.
        n: The number of candidates.
        others: The number of other questions in the queue, which the model may have to finish first.
    """
    seconds = f"{progress.seconds:.1f} s"
    if progress.stage == "retrieved":
        found = counted(len(progress.demonstrations), "demonstration")
        candidates = counted(n, "candidate")
        if others > 0:
            doing = f"Sampling {candidates}, after or with {counted(others, 'other question')} ..."
        else:
            doing = f"Sampling {candidates} ..."
        return f"Retrieved {found} in {seconds}. {doing}"
    if progress.stage == "sampled":
        return f"Sampled {counted(len(progress.answers), 'candidate')} in {seconds}. Scoring ..."
    return f"Scored in {seconds}."


def bare_answer(icdpo: ICDPO, prompt: Sequence[Message], seed: int | None) -> Answer:
    """Returns the model's own answer: one sample, without demonstrations and instructions.

    Args:
        icdpo: Holds the model and the sampling parameters.
        prompt: The conversation up to the question.
        seed: The seed of the sample.

    Raises:
        ICDPOError: See `ICDPO.generate`.
    """
    tokenizer = icdpo.policy.tokenizer
    context = tuple(icdpo.format.context(icdpo.conversation(prompt), [], None))
    sampling = replace(
        icdpo.sampling,
        seed=seed,
        stop=(*icdpo.format.stop, *icdpo.sampling.stop),
        reasoning=ThoughtReader.after(context, tokenizer, icdpo.reasoning_tags),
        decoding="sample",  # there is nothing to be guided by
    )
    request = SampleRequest(context, 1, sampling)
    question = Question(request, Contexts(context, None, context, (), ()), (), icdpo.format, tokenizer)
    (samples,) = sampled(icdpo.policy, [request])
    (answer,) = question.draft(samples).answers
    return answer
