"""`/v1/feedback`: turns a person's opinion of an answer into a demonstration."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.feedback import Feedback
from icdpo_chains.demonstrations.pairing import Thumb, is_tie, votes_of
from icdpo_chains.messages import Conversation
from icdpo_chains.server.errors import APIError, documented
from icdpo_chains.server.protocol.requests import ChatMessage, Filled, RequestBody, Text, to_conversation
from icdpo_chains.server.service import Service

__all__ = ["router"]

router = APIRouter(tags=["demonstrations"])


class GivenFeedback(RequestBody):
    """A thumb, a correction, or both: on an answer of this server by its id, or on a prompt and an answer."""

    id: Annotated[Text | None, Field(description="The id of a response; the server keeps the latest.")] = None
    choice: Annotated[int, Field(ge=0, description="Which choice of the response.")] = 0
    prompt: Annotated[
        Filled | Annotated[list[ChatMessage], Field(min_length=1)] | None,
        Field(description="The question or conversation, without an id."),
    ] = None
    answer: Annotated[Filled | None, Field(description="The answer, without an id.")] = None
    thumb: Thumb | None = None
    correction: Annotated[Filled | None, Field(description="The answer that should have been given.")] = None
    comment: Text | None = None
    user: Annotated[Text | None, Field(description="Distinguishes the votes of users.")] = None
    metadata: dict[str, Any] | None = None


class RecordedFeedback(BaseModel):
    """The demonstration of the feedback, or the pair that contains it."""

    id: str
    prompt: str | list[dict[str, str]]
    chosen: str | None = None
    rejected: str | None = None
    shown: bool = Field(description="False for as many thumbs up as down on the same answer.")
    votes: dict[Thumb, int] | None = Field(None, description="Of a demonstration with one answer.")

    @classmethod
    def of(cls, item: Demonstration) -> RecordedFeedback:
        """Returns the response for a demonstration of the core."""
        row = {name: value for name, value in item.to_dict().items() if name != "metadata"}
        votes = None if item.is_pair else votes_of(item)
        return cls(id=item.id, shown=not is_tie(item), votes=votes, **row)


@router.post("/v1/feedback", responses=documented(404, 415, 503))
async def give(request: Request, body: GivenFeedback) -> RecordedFeedback:
    """Records a thumb or a correction as a demonstration; the next question may be shown it."""
    service = Service.of(request)
    store = service.writable_store()
    metadata: dict[str, Any] = {**(body.metadata or {})}
    metadata |= {name: value for name in ("comment", "user") if (value := getattr(body, name)) is not None}
    prompt, answer = _exchange(service, body)
    if body.id is not None:
        metadata["response"] = f"{body.id}/{body.choice}"
    feedback = Feedback(prompt, answer, body.thumb, body.correction, metadata)
    service.check_length((feedback.answer, feedback.correction or ""), "the feedback")
    return RecordedFeedback.of(await run_in_threadpool(feedback.record, store))


def _exchange(service: Service, body: GivenFeedback) -> tuple[Conversation, str]:
    """Returns the question and the answer."""
    if body.id is None:
        if body.prompt is None or body.answer is None:
            raise APIError(
                400, "the feedback names no answer: give the id of a response, or prompt and answer"
            )
        return body.prompt if isinstance(body.prompt, str) else to_conversation(body.prompt), body.answer
    if body.prompt is not None or body.answer is not None:
        raise APIError(400, "give the id of a response, or prompt and answer, but not both", param="id")
    choices = service.answers.get(body.id)
    if choices is None:
        raise APIError(
            404,
            f"the response {body.id!r:.60} is unknown or forgotten: give prompt and answer",
            code="response_not_found",
            param="id",
        )
    if body.choice >= len(choices):
        raise APIError(
            400,
            f"choice is {body.choice!r:.20}, and the response has {len(choices)}, counted from 0",
            param="choice",
        )
    found = choices[body.choice]
    return found.conversation, found.text
