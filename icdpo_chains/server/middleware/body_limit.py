"""`BodyLimit`: stops reading a body at its limit."""

from __future__ import annotations

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["BodyLimit"]


class BodyLimit:
    """Middleware that counts a body during reading, and does not trust its Content-Length.

    Args:
        app: the application behind it.
        most: the limit in bytes.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request; see ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most:
                # The only exception that FastAPI passes through while it reads a body.
                raise HTTPException(
                    413, f"the body has more than {self._most} bytes, the limit: send less at a time"
                )
            return message

        await self._app(scope, counted, send)
