"""`WholeBodies`: passes a request on when its whole body has arrived."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from icdpo_chains.mcp.json_rpc import refusal_of

__all__ = ["WholeBodies"]


class WholeBodies:
    """Middleware that answers the refusals of `BodyLimit`, which is around it, and invalid messages.

    The SDK would log some of them as failures of its own, with a traceback, and so would uvicorn a body that
    is incomplete at the end of a shutdown.

    Args:
        app: the application that it wraps.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request; see ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, complete = bytearray(), False
        try:
            while not complete:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                body += message.get("body", b"")
                complete = not message.get("more_body", False)
        except HTTPException as refusal:
            await PlainTextResponse(refusal.detail, refusal.status_code)(scope, receive, send)
            return
        except asyncio.CancelledError:
            await PlainTextResponse("the server is shutting down: try later", 503)(scope, receive, send)
            return
        invalid = refusal_of(bytes(body)) if scope["method"] == "POST" else None
        if invalid is not None:
            # The SDK checks host, headers and session first, and refuses this body last.
            body = bytearray(b"null")
            text = invalid.model_dump_json(exclude_none=True)
            send = _in_place_of_400(Response(text, 400, media_type="application/json"), scope, receive, send)
        messages: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def read() -> Message:
            return messages.pop() if messages else await receive()

        await self._app(scope, read, send)


def _in_place_of_400(answer: Response, scope: Scope, receive: Receive, send: Send) -> Send:
    """Returns a `send` that sends `answer` in place of a response with the status 400."""
    replaced = False

    async def sent(message: Message) -> None:
        nonlocal replaced
        if message["type"] == "http.response.start" and message["status"] == 400:
            replaced = True
            await answer(scope, receive, send)
        elif not replaced:
            await send(message)

    return sent
