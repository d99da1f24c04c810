"""From the core's result to LangChain's message."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata

from icdpo_chains.progress import Progress
from icdpo_chains.result import Candidate, ICDPOResult, json_safe

__all__ = [
    "as_ai_message",
    "progress_event",
    "response_metadata",
    "score_table",
    "usage_metadata",
    "with_score_table",
]


def as_ai_message(result: ICDPOResult, winner: Candidate | None = None, **fields: Any) -> AIMessage:
    """Returns the winner as a message that carries all candidates in its `response_metadata`.

    Args:
        result: what ICDPO returned.
        winner: the candidate that is the answer; the best where not given.
        fields: of the message, in place of the usual ones, such as `tool_calls`.
    """
    winner = winner or result.best
    return AIMessage(
        **{
            "content": winner.text,
            "response_metadata": response_metadata(result, winner),
            "usage_metadata": usage_metadata(result),
            **fields,
        }
    )


def with_score_table(candidate: Any, result: ICDPOResult) -> AIMessage:
    """Returns a candidate that came from elsewhere as a message that carries all candidates.

    Args:
        candidate: the best; its own metadata are kept if it is an `AIMessage`, and it is not modified.
        result: what it was ranked with.
    """
    table = {"icdpo": score_table(result)}
    if isinstance(candidate, AIMessage):
        metadata = {**candidate.response_metadata, **table}
        return candidate.model_copy(update={"response_metadata": metadata})
    return AIMessage(result.best.text, response_metadata=table)


def response_metadata(result: ICDPOResult, winner: Candidate) -> dict[str, Any]:
    """Returns what an answer says about itself, as JSON values."""
    return {
        "model_name": result.model,
        "model_provider": "icdpo",
        "finish_reason": winner.finish_reason,
        "icdpo": {
            **score_table(result),
            "selected": winner.index,
            "usage": {
                "prompt_tokens": result.usage.prompt_tokens,
                "contrast_tokens": result.usage.contrast_tokens,
                "completion_tokens": result.usage.completion_tokens,
                "selected_tokens": winner.num_tokens,
            },
            "seed": result.seed,
            "timings": dict(result.timings),
        },
    }


def usage_metadata(result: ICDPOResult) -> UsageMetadata:
    """Returns the tokens that were read and written, over all candidates: what the answer cost."""
    read, written = result.usage.prompt_tokens, result.usage.completion_tokens
    return UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)


def score_table(result: ICDPOResult) -> dict[str, Any]:
    """Returns the candidates, best first, and what they were scored with, as JSON values."""
    table: dict[str, Any] = json_safe(
        {
            "candidates": [
                {
                    "text": candidate.text,
                    "score": candidate.score,
                    "index": candidate.index,
                    "expert_logprob": candidate.expert_logprob,
                    "contrast_logprob": candidate.contrast_logprob,
                    "num_tokens": candidate.num_tokens,
                    "finish_reason": candidate.finish_reason,
                }
                for candidate in result.candidates
            ],
            "selected": result.best.index,
            "demonstrations": [found.demonstration.id for found in result.demonstrations],
            "dropped": [demonstration.id for demonstration in result.dropped],
            "scorer": {"against": result.against, "aggregate": result.aggregate},
        }
    )
    return table


def progress_event(progress: Progress) -> dict[str, Any]:
    """Returns one stage's progress as the JSON values of a custom event."""
    event: dict[str, Any] = {"stage": progress.stage, "seconds": progress.seconds}
    if progress.demonstrations:
        event["demonstrations"] = [found.demonstration.id for found in progress.demonstrations]
    if progress.answers:
        event["answers"] = [answer.text for answer in progress.answers]
    if progress.candidates:
        event["candidates"] = [{"text": item.text, "score": item.score} for item in progress.candidates]
    safe: dict[str, Any] = json_safe(event)
    return safe
