"""`EventStream`: an answer as server-sent events, during sampling or after the choice."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Generic, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from icdpo_chains.server.errors import as_api_error
from icdpo_chains.server.live_text import LiveText
from icdpo_chains.server.metrics import STATUS
from icdpo_chains.server.queue import CLIENT_CLOSED, wait_for

__all__ = ["EVENTS", "EventStream", "pieces"]

T = TypeVar("T")

EVENTS: dict[str, Any] = {"content": {"text/event-stream": {}}}
"""OpenAPI's description of a stream. A schema describes single events, and the last event is not JSON."""

_KEEP_ALIVE = 5.0
"""Seconds between two comments: proxies close idle connections."""

_log = logging.getLogger(__name__)


class EventStream(StreamingResponse, Generic[T]):
    """The response; cancels the task if the client disconnects.

    Args:
        scope: the scope of the request.
        task: computes the answer.
        first: the chunks before the result.
        chunks: returns the other chunks for a result.
        live: the growing answer, if it can be streamed; `chunks` then returns the rest.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        scope: Scope,
        task: asyncio.Task[T],
        first: Iterable[dict[str, Any]],
        chunks: Callable[[T], Iterable[dict[str, Any]]],
        live: LiveText | None = None,
    ) -> None:
        self._scope, self._task, self._first, self._chunks = scope, task, first, chunks
        self._live = live
        super().__init__(self._events(), headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})

    @classmethod
    async def begun(
        cls,
        request: Request,
        task: asyncio.Task[T],
        first: Iterable[dict[str, Any]],
        chunks: Callable[[T], Iterable[dict[str, Any]]],
        live: LiveText | None = None,
    ) -> EventStream[T]:
        """Waits briefly for text, so that an early error gets its own status.

        Raises:
            Exception: the task's exception.
        """
        await wait_for(request, task, _KEEP_ALIVE, None if live is None else live.grown())
        if task.done():
            task.result()
        return cls(request.scope, task, first, chunks, live)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request; see ASGI."""
        try:
            await super().__call__(scope, receive, send)
        finally:  # also if the stream never began
            if self._task.cancel():
                self._scope[STATUS] = CLIENT_CLOSED

    async def _events(self) -> AsyncIterator[bytes]:
        for chunk in self._first:
            yield _event(chunk)
        while not self._task.done():
            grown = await self._wait()
            if grown is not None:
                yield _event(grown)
            elif not self._task.done():
                yield b": still at work\n\n"
        try:
            for chunk in self._chunks(self._task.result()):
                yield _event(chunk)
        except Exception as error:
            shown = as_api_error(error)
            if shown.status >= 500 and shown is not error:
                _log.error("%s: %s", self._scope["path"], shown.code, exc_info=error)
            self._scope[STATUS] = shown.status
            yield _event(shown.body())
        yield b"data: [DONE]\n\n"

    async def _wait(self) -> dict[str, Any] | None:
        """Waits until the task is done, for new text, or for some seconds; returns the chunk of new text."""
        if self._live is None:
            await asyncio.wait({self._task}, timeout=_KEEP_ALIVE)
            return None
        grown = asyncio.ensure_future(self._live.grown())
        try:
            await asyncio.wait({self._task, grown}, timeout=_KEEP_ALIVE, return_when=asyncio.FIRST_COMPLETED)
        finally:
            grown.cancel()
        return self._live.next()


def pieces(text: str) -> list[str]:
    """Cuts a text into words, each with the white space after it."""
    return re.findall(r"\s*\S+\s*|\s+", text)


def _event(value: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(value, ensure_ascii=True, allow_nan=False)}\n\n".encode("ascii")
