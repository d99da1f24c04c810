"""From the core's result to LangChain's message."""

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
    """Returns the winner as a message that carries all candidates in its `response_metadata`.

    The thought of a model that thinks stands in `additional_kwargs["reasoning_content"]`, where LangChain's
    `content_blocks` find it.

    Args:
        result: what ICDPO returned.
        winner: the candidate that is the answer; the best where not given.
        fields: of the message, in place of the usual ones, such as `tool_calls`.
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
    """Returns a candidate that came from elsewhere as a message that carries all candidates.

    Args:
        candidate: the best; its own metadata are kept if it is an `AIMessage`, and it is not modified.
        result: what it was ranked with.
    """
    table = {"icdpo": result.score_table()}
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
    """Returns the tokens that were read and written, over all candidates: what the answer cost."""
    read, written = result.usage.prompt_tokens, result.usage.completion_tokens
    return UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
