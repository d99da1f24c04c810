"""`answer_all`: the one path of a question through the stages, for one question or for many together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from icdpo_chains.draft import Draft
from icdpo_chains.errors import PolicyMemoryError
from icdpo_chains.messages import Conversation, as_responses
from icdpo_chains.pipeline import Pipeline
from icdpo_chains.policies.sampling import SamplingParams
from icdpo_chains.progress import OnProgress, Stages
from icdpo_chains.prompts.thinking import Thinking
from icdpo_chains.question import Question
from icdpo_chains.result import ICDPOResult

__all__ = ["Each", "answer_all", "answer_one", "rank_given", "sample_each", "score_each"]

T = TypeVar("T")


class Each:
    """Makes a call for each question; may return an error in place of a result.

    Args:
        keeps: decides whether to return an error in place of a result; other errors are raised.
        map: makes the calls like the built-in `map`; an executor's `map` makes them in threads.
    """

    def __init__(self, keeps: Callable[[Exception], bool], map: Callable[..., Iterable[Any]] = map) -> None:
        self.keeps, self._map = keeps, map

    def __call__(self, call: Callable[..., T], *columns: Sequence[Any]) -> list[Any]:
        """Returns the result of a call for each row of the columns; an error in a row passes through."""

        def one(*row: Any) -> T | Exception:
            failed = next((item for item in row if isinstance(item, Exception)), None)
            if failed is not None:
                return failed
            try:
                return call(*row)
            except Exception as error:
                if not self.keeps(error):
                    raise
                return error

        return list(self._map(one, *columns))


def sample_each(
    pipeline: Pipeline, each: Each, questions: Sequence[Question | Exception]
) -> list[Draft | Exception]:
    """Samples for all questions together; if that fails, for each alone, to assign errors to questions.

    Args:
        pipeline: samples the candidates.
        each: decides which errors to return in place of a result.
        questions: the questions; errors keep their places.
    """
    return _together(pipeline.sample_questions, each, questions)


def score_each(
    pipeline: Pipeline, each: Each, drafts: Sequence[Draft | Exception]
) -> list[ICDPOResult | Exception]:
    """Scores all drafts together and selects; if scoring them together fails, scores each alone.

    Args:
        pipeline: scores the candidates.
        each: decides which errors to return in place of a result.
        drafts: the drafts; errors keep their places.
    """
    return each(pipeline.select, _together(pipeline.contrasted, each, drafts))


def _together(
    call: Callable[[list[Any]], list[Draft]], each: Each, items: Sequence[Any | Exception]
) -> list[Draft | Exception]:
    """Makes one call for all items that are not errors; if that fails, one call for each item.

    If the memory can't hold one of them, the others are computed in halves, to stay together where they can.
    """
    valid = [item for item in items if not isinstance(item, Exception)]
    if not valid:
        return list(items)
    try:
        results = iter(call(valid))
    except Exception as error:
        if not each.keeps(error):
            raise
        if not isinstance(error, PolicyMemoryError):
            return each(lambda item: call([item])[0], items)
        if len(items) == 1:
            return [error]
    else:
        return [item if isinstance(item, Exception) else next(results) for item in items]
    half = len(items) // 2
    return [*_together(call, each, items[:half]), *_together(call, each, items[half:])]


def answer_all(
    pipeline: Pipeline,
    prompts: Sequence[Conversation],
    *,
    return_exceptions: bool,
    n: int | None = None,
    k: int | None = None,
    sampling: SamplingParams | None = None,
    seed: int | None = None,
    exclude: Collection[str] = (),
    finalists: int | None = None,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    thinking: Thinking | None = None,
    on_progress: OnProgress | None = None,
    on_text: Callable[[str], None] | None = None,
    on_thought: Callable[[str], None] | None = None,
) -> list[ICDPOResult | Exception]:
    """Takes all questions through one stage, then through the next; see `ICDPO.generate_batch`."""
    pipeline = pipeline.with_chat_template_kwargs(chat_template_kwargs, thinking)
    each = Each(lambda error: return_exceptions)
    conversations = each(pipeline.conversation, prompts)
    stages = [Stages(on_progress) for _ in prompts]
    found = each(lambda prompt: pipeline.retrieve(prompt, k=k, exclude=exclude), conversations)
    each(lambda stage, item: stage.done("retrieved", demonstrations=tuple(item)), stages, found)

    def lay_out(prompt: Conversation, demonstrations: Any) -> Question:
        question = pipeline.ask(
            prompt, demonstrations, n=n, sampling=sampling, seed=seed, finalists=finalists
        )
        return question if on_text is None else question.streamed(on_text, on_thought)

    drafts = sample_each(pipeline, each, each(lay_out, conversations, found))
    each(lambda stage, draft: stage.done("sampled", answers=draft.answers), stages, drafts)
    results = score_each(pipeline, each, drafts)

    def timed(stage: Stages, result: ICDPOResult) -> ICDPOResult:
        stage.done("scored", candidates=result.candidates)
        return replace(result, timings=stage.timings())

    return each(timed, stages, results)


def answer_one(pipeline: Pipeline, prompt: Conversation, **options: Any) -> ICDPOResult:
    """Takes one question through the stages; see `ICDPO.generate`."""
    (result,) = answer_all(pipeline, [prompt], return_exceptions=False, **options)
    assert isinstance(result, ICDPOResult)  # noqa: S101 - errors are raised
    return result


def rank_given(
    pipeline: Pipeline,
    prompt: Conversation,
    responses: Sequence[str],
    k: int | None,
    exclude: Collection[str],
    ended: bool,
    on_progress: OnProgress | None,
) -> ICDPOResult:
    """Takes given answers to a question through the stages; see `ICDPO.score`."""
    stages = Stages(on_progress)
    conversation = pipeline.conversation(prompt)
    responses = as_responses(responses)
    found = pipeline.retrieve(conversation, k=k, exclude=exclude)
    stages.done("retrieved", demonstrations=tuple(found))
    result = pipeline.rank(pipeline.encode(conversation, found, responses, ended=ended))
    stages.done("scored", candidates=result.candidates)
    return replace(result, timings=stages.timings())
