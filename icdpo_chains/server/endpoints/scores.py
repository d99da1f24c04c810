"""`/v1/score`: ranks given answers."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from icdpo_chains.server.errors import APIError, documented
from icdpo_chains.server.protocol.requests import (
    ChatMessage,
    Excluded,
    Filled,
    RequestBody,
    Shown,
    Text,
    to_conversation,
)
from icdpo_chains.server.protocol.responses import Report
from icdpo_chains.server.queue import wait_for
from icdpo_chains.server.service import Service

__all__ = ["router"]

router = APIRouter(tags=["answers"])

_Messages = Annotated[list[ChatMessage], Field(min_length=1)]


class ScoreRequest(RequestBody):
    """A question, as `prompt` or as `messages`, and answers to it."""

    model: Text | None = None
    prompt: Filled | _Messages | None = None
    messages: _Messages | None = None
    responses: Annotated[list[Text], Field(min_length=1)]
    k: Shown = None
    exclude: Excluded = Field(default_factory=list)


class Ranking(Report):
    """The responses, best first; `index` is the place in the request."""

    object: Literal["icdpo.ranking"] = "icdpo.ranking"
    model: str


@router.post("/v1/score", response_model=Ranking, responses=documented(404, 415, 422, 429, 503, 504))
async def score(request: Request, body: ScoreRequest) -> Ranking:
    """Ranks given answers."""
    service = Service.of(request)
    service.check_model(body.model)
    prompt = body.messages if body.prompt is None else body.prompt
    if prompt is None or (body.prompt is not None and body.messages is not None):
        raise APIError(400, "give the question either as prompt or as messages", param="prompt")
    task = service.score(to_conversation(prompt), body.responses, body.k, body.exclude)
    await wait_for(request, task)
    return Ranking(model=service.model_name, **Report.of(task.result()).model_dump())
