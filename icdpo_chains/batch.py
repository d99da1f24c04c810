"""`answer_batch`: several questions, whose candidates are sampled together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, TypeVar

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

    options: dict[str, Any] = {"n": n, "sampling": sampling, "seed": seed, "finalists": finalists}
    asked = [i for i, item in enumerate(found) if not isinstance(item, Exception)]
    drafts: list[Draft | Exception] = list(found)
    try:
        sampled: list[Draft | Exception] = list(
            pipeline.sample_batch([conversations[i] for i in asked], [found[i] for i in asked], **options)
        )
    except Exception:
        if not return_exceptions:
            raise
        # One of them can't be answered, and the others have nothing to do with it.
        sampled = each(
            lambda i: pipeline.sample(conversations[i], found[i], **options),
            asked,
        )
    for i, draft in zip(asked, sampled, strict=True):
        drafts[i] = draft
    each(lambda stage, draft: stage.done("sampled", answers=draft.answers), stages, drafts)

    def ranked(stage: Stages, draft: Draft) -> ICDPOResult:
        result = pipeline.select(draft)
        stage.done("scored", candidates=result.candidates)
        return replace(result, timings=stage.timings())

    return each(ranked, stages, drafts)


class _Each:
    """Makes a call for each question; an error takes the place of what would have been returned."""

    def __init__(self, return_exceptions: bool) -> None:
        self._return_exceptions = return_exceptions

    def __call__(self, call: Callable[..., T], *columns: Sequence[Any]) -> list[Any]:
        return [self._one(call, row) for row in zip(*columns, strict=True)]

    def _one(self, call: Callable[..., T], row: Sequence[Any]) -> T | Exception:
        failed = next((item for item in row if isinstance(item, Exception)), None)
        if failed is not None:
            return failed
        try:
            return call(*row)
        except Exception as error:
            if not self._return_exceptions:
                raise
            return error
