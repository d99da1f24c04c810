"""`CancelledByShutdown`: answers requests that outlast a shutdown."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from icdpo_chains.server.queue import Queue, shutting_down

__all__ = ["CancelledByShutdown"]


class CancelledByShutdown:
    """Middleware that answers 503 to a request which uvicorn cancels at the end of a shutdown.

    Such a request has half-sent its body, or does not read its response. uvicorn would log a traceback.

    Args:
        app: the application that it wraps.
        queue: knows whether the server is shutting down.
    """

    def __init__(self, app: ASGIApp, queue: Queue) -> None:
        self._app, self._queue = app, queue

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request; see ASGI."""
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except asyncio.CancelledError:
            if not self._queue.closing:
                raise
            if not begun:
                await shutting_down().response()(scope, receive, send)
