"""`BodyLimit`: stops reading a body at its limit of bytes or of seconds."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["BodyLimit"]


class BodyLimit:
    """Middleware that counts a body during reading, and does not trust its Content-Length.

    Args:
        app: the application that reads the body.
        most: the limit in bytes.
        seconds: the longest time for the whole body.
    """

    def __init__(self, app: ASGIApp, most: int, seconds: float) -> None:
        self._app, self._most, self._seconds = app, most, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request; see ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        read, complete = 0, False
        end = asyncio.get_running_loop().time() + self._seconds

        async def counted() -> Message:
            nonlocal read, complete
            if complete:  # the rest is the client's disconnection
                return await receive()
            # HTTPException is the only exception that FastAPI passes through while it reads a body.
            try:
                message = await asyncio.wait_for(receive(), end - asyncio.get_running_loop().time())
            except (TimeoutError, asyncio.TimeoutError):
                raise HTTPException(
                    408, f"the body did not arrive within {self._seconds:g} seconds: send it at once"
                ) from None
            complete = not message.get("more_body", False)
            read += len(message.get("body", b""))
            if read > self._most:
                raise HTTPException(
                    413, f"the body has more than {self._most} bytes, the limit: send less at a time"
                )
            return message

        await self._app(scope, counted, send)
