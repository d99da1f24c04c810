"""`answer_batch`: several questions, whose candidates are sampled together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from icdpo_chains.asked import Asked
from icdpo_chains.messages import Conversation, as_conversation
from icdpo_chains.pipeline import Pipeline
from icdpo_chains.policies.sampling import SamplingParams
from icdpo_chains.progress import OnProgress, Stages
from icdpo_chains.result import Draft, ICDPOResult

__all__ = ["answer_batch"]

T = TypeVar("T")


def answer_batch(
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
    on_progress: OnProgress | None = None,
) -> list[ICDPOResult | Exception]:
    """Takes all questions through one stage, then through the next; see `ICDPO.generate_batch`."""
    each = _Each(return_exceptions)
    conversations = each(as_conversation, prompts)
    stages = [Stages(on_progress) for _ in prompts]
    found = each(lambda asked: pipeline.retrieve(asked, k=k, exclude=exclude), conversations)
    each(lambda stage, item: stage.done("retrieved", demonstrations=tuple(item)), stages, found)

    asked = each(
        lambda prompt, own: pipeline.ask(prompt, own, n=n, sampling=sampling, seed=seed, finalists=finalists),
        conversations,
        found,
    )
    drafts = _sampled(pipeline, each, asked)
    each(lambda stage, draft: stage.done("sampled", answers=draft.answers), stages, drafts)

    def ranked(stage: Stages, draft: Draft) -> ICDPOResult:
        result = pipeline.select(draft)
        stage.done("scored", candidates=result.candidates)
        return replace(result, timings=stage.timings())

    return each(ranked, stages, drafts)


def _sampled(pipeline: Pipeline, each: _Each, asked: list[Asked | Exception]) -> list[Draft | Exception]:
    """Samples for all that could be asked; errors stay where they are."""
    askable = [item for item in asked if isinstance(item, Asked)]
    try:
        drafts = iter(pipeline.sample_asked(askable))
    except Exception:
        if not each.return_exceptions:
            raise
        # The model itself has failed, for one of them it may be; alone, each has its own answer or error.
        return each(lambda item: pipeline.sample_asked([item])[0], asked)
    return [next(drafts) if isinstance(item, Asked) else item for item in asked]


class _Each:
    """Makes a call for each question; an error takes the place of what would have been returned."""

    def __init__(self, return_exceptions: bool) -> None:
        self.return_exceptions = return_exceptions

    def __call__(self, call: Callable[..., T], *columns: Sequence[Any]) -> list[Any]:
        return [self._one(call, row) for row in zip(*columns, strict=True)]

    def _one(self, call: Callable[..., T], row: Sequence[Any]) -> T | Exception:
        failed = next((item for item in row if isinstance(item, Exception)), None)
        if failed is not None:
            return failed
        try:
            return call(*row)
        except Exception as error:
            if not self.return_exceptions:
                raise
            return error
