"""`/v1/completions`: OpenAI's older endpoint. A prompt is a question here, not a text to continue."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel

from icdpo_chains.result import ICDPOResult
from icdpo_chains.server.errors import documented
from icdpo_chains.server.event_stream import EVENTS, EventStream, pieces
from icdpo_chains.server.generation import generation_options
from icdpo_chains.server.live_text import LiveText
from icdpo_chains.server.protocol.requests import CompletionRequest, to_conversation
from icdpo_chains.server.protocol.responses import CompletionUsage, FinishReason, Report, finish_reason, usage
from icdpo_chains.server.queue import wait_for
from icdpo_chains.server.service import Service

__all__ = ["router"]

router = APIRouter(tags=["answers"])


class TextChoice(BaseModel):
    """One of the returned answers."""

    index: int
    text: str
    finish_reason: FinishReason
    logprobs: None = None


class TextCompletion(BaseModel):
    """The best answers to each prompt, `n` for the first, then `n` for the next; a report for each prompt."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    usage: CompletionUsage
    icdpo: list[Report]


@router.post(
    "/v1/completions",
    response_model=TextCompletion,
    responses={200: EVENTS, **documented(404, 415, 422, 429, 503, 504)},
)
async def completions(request: Request, body: CompletionRequest) -> TextCompletion | Response:
    """Answers one question, or several, each with the best of several candidates."""
    service = Service.of(request)
    service.check_model(body.model)
    prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    conversations = [to_conversation(prompt) for prompt in prompts]
    options = generation_options(service, body)
    name, created = f"cmpl-{secrets.token_hex(12)}", int(time.time())
    n = body.n or 1
    if body.stream:
        head = {"id": name, "object": "text_completion", "created": created, "model": service.model_name}
        # The best of several candidates is known only when all have ended.
        alone = options["n"] == 1 and len(conversations) == 1
        live = LiveText(lambda piece: {**head, "choices": [_piece(piece)]}) if alone else None
        task = service.generate(
            conversations, options, None if live is None else live.put, name=name, returned=n
        )
        with_usage = body.stream_options is not None and bool(body.stream_options.include_usage)
        return await EventStream.begun(
            request, task, [], lambda results: _chunks(head, results, n, with_usage, live), live
        )
    task = service.generate(conversations, options, name=name, returned=n)
    await wait_for(request, task)
    results = task.result()
    return TextCompletion(
        id=name,
        created=created,
        model=service.model_name,
        choices=_choices(results, n),
        usage=usage(results, n),
        icdpo=[Report.of(result) for result in results],
    )


def _choices(results: list[ICDPOResult], n: int) -> list[TextChoice]:
    returned = [candidate for result in results for candidate in result.candidates[:n]]
    return [
        TextChoice(index=i, text=candidate.text, finish_reason=finish_reason(candidate.finish_reason))
        for i, candidate in enumerate(returned)
    ]


def _piece(text: str, index: int = 0) -> dict[str, Any]:
    return {"index": index, "text": text, "finish_reason": None, "logprobs": None}


def _chunks(
    head: dict[str, Any],
    results: list[ICDPOResult],
    n: int,
    with_usage: bool,
    live: LiveText | None,
) -> Iterator[dict[str, Any]]:
    for choice in _choices(results, n):
        for piece in pieces(choice.text if live is None else live.rest(choice.text)):
            yield {**head, "choices": [_piece(piece, choice.index)]}
        last = {**head, "choices": [{**choice.model_dump(), "text": ""}]}
        if choice.index % n == 0:
            last["icdpo"] = [Report.of(results[choice.index // n]).model_dump()]
        yield last
    if with_usage:
        yield {**head, "choices": [], "usage": usage(results, n).model_dump()}
