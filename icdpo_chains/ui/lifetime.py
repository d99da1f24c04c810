"""`Lifetime`: starts the page's background tasks with the first request, and ends all with the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from icdpo_chains.server.queue import Queue

__all__ = ["Lifetime"]

_LOOK = 0.2
"""Seconds between two looks at the queue."""


class Lifetime:
    """Middleware around an application whose browsers keep streams open, and which needs a lifespan.

    uvicorn runs without lifespan events, and would wait for the streams of every open browser at a shutdown.

    Args:
        app: The application behind it.
        lifespan: Returns the context in which the application works.
        queue: The server's queue: after it has closed and its last question is answered, streams end.
        last_words: The seconds in which the last answers reach their browsers.
    """

    def __init__(
        self,
        app: ASGIApp,
        lifespan: Callable[[], AbstractAsyncContextManager[Any]],
        queue: Queue,
        last_words: float = 1.0,
    ) -> None:
        self._app, self._lifespan, self._queue, self._last_words = app, lifespan, queue, last_words
        self._life: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request; see ASGI."""
        if self._life is None:
            self._life = asyncio.ensure_future(self._live())
        await self._ready.wait()
        begun = complete = False

        async def watched(message: Message) -> None:
            nonlocal begun, complete
            begun = True
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        work = asyncio.ensure_future(self._app(scope, receive, watched))
        try:
            await asyncio.wait({work, self._life}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over = not work.done()
            work.cancel()
        if not over:
            work.result()
            return
        await asyncio.wait({work})
        if begun and not complete:
            await send({"type": "http.response.body", "body": b""})
        elif not begun:
            await PlainTextResponse("The server is shutting down.\n", 503)(scope, receive, send)

    async def _live(self) -> None:
        try:
            async with self._lifespan():
                self._ready.set()
                while not self._queue.closing or self._queue.taken:  # noqa: ASYNC110 - the queue has no event
                    await asyncio.sleep(_LOOK)
                await asyncio.sleep(self._last_words)
        finally:
            self._ready.set()
