"""`/v1/chat/completions`."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from icdpo_chains.result import ICDPOResult
from icdpo_chains.server.errors import documented
from icdpo_chains.server.event_stream import EVENTS, EventStream, pieces
from icdpo_chains.server.generation import chat_options
from icdpo_chains.server.live_text import LiveText
from icdpo_chains.server.protocol.requests import ChatRequest, to_conversation
from icdpo_chains.server.protocol.responses import CompletionUsage, FinishReason, Report, finish_reason, usage
from icdpo_chains.server.queue import wait_for
from icdpo_chains.server.service import Service

__all__ = ["router"]

router = APIRouter(tags=["answers"])


class AnswerMessage(BaseModel):
    """An answer."""

    role: Literal["assistant"] = "assistant"
    content: str
    reasoning_content: Annotated[str | None, Field(description="The thought of a thinking model.")] = None
    refusal: None = None


class ChatChoice(BaseModel):
    """One of the returned answers."""

    index: int
    message: AnswerMessage
    finish_reason: FinishReason
    logprobs: None = None


class ChatCompletion(BaseModel):
    """The best answers."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: CompletionUsage
    icdpo: Report


@router.post(
    "/v1/chat/completions",
    response_model=ChatCompletion,
    responses={200: EVENTS, **documented(404, 415, 422, 429, 503, 504)},
)
async def chat_completions(request: Request, body: ChatRequest) -> ChatCompletion | Response:
    """Answers a conversation with the best of several candidates; a single one can be streamed live."""
    service = Service.of(request)
    service.check_model(body.model)
    continued = bool((body.chat_template_kwargs or {}).get("continue_final_message"))
    conversation = to_conversation(body.messages, continued=continued)
    options = chat_options(service, body)
    name, created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())
    n = body.n or 1
    if body.stream:
        head = {
            "id": name,
            "object": "chat.completion.chunk",
            "created": created,
            "model": service.model_name,
        }
        # The best of several candidates is known only when all have ended.
        live = _live(head) if options["n"] == 1 else None
        told = () if live is None else (live.put, live.put_thought)
        task = service.generate([conversation], options, *told, name=name, returned=n)
        first = [_chunk(head, i, {"role": "assistant", "content": ""}) for i in range(n)]
        with_usage = body.stream_options is not None and bool(body.stream_options.include_usage)
        return await EventStream.begun(
            request, task, first, lambda results: _chunks(head, results[0], n, with_usage, live), live
        )
    task = service.generate([conversation], options, name=name, returned=n)
    await wait_for(request, task)
    (result,) = task.result()
    choices = [
        ChatChoice(
            index=i,
            message=AnswerMessage(content=candidate.text, reasoning_content=candidate.reasoning),
            finish_reason=finish_reason(candidate.finish_reason),
        )
        for i, candidate in enumerate(result.candidates[:n])
    ]
    return ChatCompletion(
        id=name,
        created=created,
        model=service.model_name,
        choices=choices,
        usage=usage([result], n),
        icdpo=Report.of(result),
    )


def _chunks(
    head: dict[str, Any], result: ICDPOResult, n: int, with_usage: bool, live: LiveText | None
) -> Iterator[dict[str, Any]]:
    for i, candidate in enumerate(result.candidates[:n]):
        sent = live is not None and live.thought_sent
        for piece in () if sent else pieces(candidate.reasoning or ""):
            yield _chunk(head, i, {"reasoning_content": piece})
        for piece in pieces(candidate.text if live is None else live.rest(candidate.text)):
            yield _chunk(head, i, {"content": piece})
        last = _chunk(head, i, {}, finish_reason(candidate.finish_reason))
        if i == 0:
            last["icdpo"] = Report.of(result).model_dump()
        yield last
    if with_usage:
        yield {**head, "choices": [], "usage": usage([result], n).model_dump()}


def _live(head: dict[str, Any]) -> LiveText:
    return LiveText(
        lambda piece: _chunk(head, 0, {"content": piece}),
        lambda thought: _chunk(head, 0, {"reasoning_content": thought}),
    )


def _chunk(
    head: dict[str, Any], index: int, delta: dict[str, str], reason: FinishReason | None = None
) -> dict[str, Any]:
    return {**head, "choices": [{"index": index, "delta": delta, "finish_reason": reason, "logprobs": None}]}
