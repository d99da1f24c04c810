"""`WholeBodies`: passes a request on when its whole body has arrived."""

from __future__ import annotations

import asyncio
import json

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["WholeBodies"]


class WholeBodies:
    """Middleware that answers the refusals of `BodyLimit`, which is around it, and bodies that are no text.

    The SDK would log them as failures of its own, with a traceback, and so would uvicorn a body that is
    incomplete at the end of a shutdown.

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
        if not _is_readable(body):
            refused = "the body is not UTF-8, or is nested too deeply: send a JSON object"
            await PlainTextResponse(refused, 400)(scope, receive, send)
            return
        messages: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def read() -> Message:
            return messages.pop() if messages else await receive()

        await self._app(scope, read, send)


def _is_readable(body: bytes | bytearray) -> bool:
    try:
        json.loads(body)
    except json.JSONDecodeError:  # the SDK names the place of the fault
        return True
    except (UnicodeDecodeError, RecursionError):
        return False
    return True
