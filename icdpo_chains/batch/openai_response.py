"""`openai_response`: the answer to a line of OpenAI's batch endpoint, in the form of its output file."""

from __future__ import annotations

from typing import Any

from icdpo_chains.batch.input import JobRow
from icdpo_chains.result import ICDPOResult

__all__ = ["openai_response"]


def openai_response(row: JobRow, result: ICDPOResult) -> dict[str, Any]:
    """Returns the `response` of a line: its status and a body as of the endpoint in the request.

    `created` is 0, so that the same job writes the same file.
    """
    best, chat = result.best, row.request == "/v1/chat/completions"
    said: dict[str, Any] = {"text": result.text}
    if chat:
        said = {"message": {"role": "assistant", "content": result.text, "refusal": None}}
    choice = {
        "index": 0,
        **said,
        "logprobs": None,
        "finish_reason": "stop" if best.finish_reason == "stop" else "length",
    }
    prompt, completion = result.usage.prompt_tokens, best.total_tokens
    return {
        "status_code": 200,
        "request_id": f"row-{row.number}",
        "body": {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{row.number}",
            "object": "chat.completion" if chat else "text_completion",
            "created": 0,
            "model": result.model,
            "choices": [choice],
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
            },
        },
    }
