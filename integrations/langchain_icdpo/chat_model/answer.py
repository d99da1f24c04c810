"""Converts the core's result to LangChain's message."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata

from icdpo_chains.result import Candidate, ICDPOResult

__all__ = [
    "as_ai_message",
    "response_metadata",
    "usage_metadata",
    "with_score_table",
]


def as_ai_message(result: ICDPOResult, winner: Candidate | None = None, **fields: Any) -> AIMessage:
    """Returns the winner as a message with all candidates in its `response_metadata`.

    A thinking model's thought is in `additional_kwargs["reasoning_content"]`; LangChain's `content_blocks`
    read it there.

    Args:
        result: the result of ICDPO.
        winner: the candidate to return; by default the best.
        fields: fields of the message that replace the default ones, such as `tool_calls`.
    """
    winner = winner or result.best
    reasoning = {} if winner.reasoning is None else {"reasoning_content": winner.reasoning}
    return AIMessage(
        **{
            "content": winner.text,
            "additional_kwargs": reasoning,
            "response_metadata": response_metadata(result, winner),
            "usage_metadata": usage_metadata(result),
            **fields,
        }
    )


def with_score_table(candidate: Any, result: ICDPOResult) -> AIMessage:
    """Returns an external candidate as a message with all candidates in its `response_metadata`.

    Args:
        candidate: the best candidate. An `AIMessage` keeps its own metadata and is not modified.
        result: the ranking.
    """
    table = {"icdpo": result.score_table()}
    if isinstance(candidate, AIMessage):
        metadata = {**candidate.response_metadata, **table}
        return candidate.model_copy(update={"response_metadata": metadata})
    return AIMessage(result.best.text, response_metadata=table)


def response_metadata(result: ICDPOResult, winner: Candidate) -> dict[str, Any]:
    """Returns the metadata of an answer as JSON values."""
    return {
        "model_name": result.model,
        "model_provider": "icdpo",
        "finish_reason": winner.finish_reason,
        "icdpo": {
            **result.score_table(),
            "selected": winner.index,
            "usage": {
                "prompt_tokens": result.usage.prompt_tokens,
                "contrast_tokens": result.usage.contrast_tokens,
                "completion_tokens": result.usage.completion_tokens,
                "selected_tokens": winner.total_tokens,
            },
            "seed": result.seed,
            "timings": dict(result.timings),
        },
    }


def usage_metadata(result: ICDPOResult) -> UsageMetadata:
    """Returns the numbers of tokens read and written for all candidates: the cost of the answer."""
    read, written = result.usage.prompt_tokens, result.usage.completion_tokens
    return UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
