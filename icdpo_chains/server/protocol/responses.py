"""Responses: those of OpenAI, with ICDPO's own fields."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

from pydantic import BaseModel

from icdpo_chains.result import ICDPOResult

__all__ = ["CompletionUsage", "FinishReason", "Report", "finish_reason", "usage"]

FinishReason = Literal["stop", "length"]


class CompletionUsage(BaseModel):
    """OpenAI's usage: the tokens of the returned answers.

    `prompt_tokens` counts the sampling context, including demonstrations; `completion_tokens` counts the
    returned choices. The cost of all candidates and scores is in `icdpo.usage`.
    """

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ReportedCandidate(BaseModel):
    """A candidate; its score is null if it can't be scored or was rejected."""

    text: str
    score: float | None
    index: int
    expert_logprob: float | None
    contrast_logprob: float | None
    num_tokens: int
    finish_reason: str | None


class ReportedScorer(BaseModel):
    """The scorer's other side, its aggregate, and whether the demonstrations are pairs."""

    against: str
    aggregate: str
    paired: bool


class ReportedUsage(BaseModel):
    """Tokens read and sampled for all candidates together; see `Usage`."""

    prompt_tokens: int
    contrast_tokens: int
    completion_tokens: int


class Report(BaseModel):
    """The details of an answer: candidates best first, ids of demonstrations, seconds by stage."""

    candidates: list[ReportedCandidate]
    selected: int
    demonstrations: list[str]
    dropped: list[str]
    scorer: ReportedScorer
    seed: int | None
    timings: dict[str, float]
    usage: ReportedUsage

    @classmethod
    def of(cls, result: ICDPOResult) -> Report:
        """Returns the details of a result."""
        return cls.model_validate(
            {
                **result.score_table(),
                "seed": result.seed,
                "timings": dict(result.timings),
                "usage": asdict(result.usage),
            }
        )


def usage(results: list[ICDPOResult], n: int) -> CompletionUsage:
    """Returns the usage of n choices of each result."""
    prompt = sum(result.usage.prompt_tokens for result in results)
    returned = [item for result in results for item in result.candidates[:n]]
    completion = sum(item.total_tokens for item in returned)
    return CompletionUsage(
        prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion
    )


def finish_reason(reason: str | None) -> FinishReason:
    """Returns OpenAI's finish reason of an answer; a rejected candidate has none."""
    return "stop" if reason == "stop" else "length"
