"""`Queue`: how many questions may be answered or wait, how long, and for whom."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request

from icdpo_chains.server.protocol.errors import APIError

__all__ = ["CLIENT_CLOSED", "Queue", "wait_for"]

T = TypeVar("T")

CLIENT_CLOSED = 499
"""The status, nginx's, of a request whose client has gone: nobody receives it, and metrics count it."""


class Queue:
    """Bounds the questions at work. Used on one event loop.

    A question holds its slot as long as its task runs, whatever becomes of the response.

    Args:
        most: how many questions may be answered or wait.
        timeout: seconds after which a question's work is taken back.

    Attributes:
        taken: how many are answered or wait.
        closing: the server shuts down, and takes no more.
    """

    def __init__(self, most: int, timeout: float) -> None:
        self._most, self._timeout = most, timeout
        self.taken = 0
        self.closing = False

    def start(self, work: Callable[[], Coroutine[Any, Any, T]], count: int = 1) -> asyncio.Task[T]:
        """Starts work in a task of its own; cancelling that takes it back.

        Args:
            work: what is to be done; its own error becomes the task's.
            count: for how many questions.

        Raises:
            APIError: the queue is full (429), or the server shuts down (503).
        """
        if self.closing:
            raise APIError(503, "the server shuts down: ask another one, or later", code="shutting_down")
        if count > self._most:
            raise APIError(
                400,
                f"{count} questions at once, and no more than {self._most} are taken: ask for fewer",
            )
        if self.taken + count > self._most:
            raise APIError(
                429,
                f"{self.taken} questions are answered or wait already, and no more than {self._most} may: "
                "ask again later",
                code="queue_full",
            )
        self.taken += count
        task = asyncio.get_running_loop().create_task(self._bounded(work))
        task.add_done_callback(lambda task: self._ended(task, count))
        return task

    async def _bounded(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        try:
            return await asyncio.wait_for(work(), self._timeout)
        except asyncio.TimeoutError:
            raise APIError(
                504,
                f"the answer took longer than {self._timeout:g} seconds: ask for fewer candidates or tokens, "
                "or when less is asked",
                code="timeout",
            ) from None

    def _ended(self, task: asyncio.Task[Any], count: int) -> None:
        self.taken -= count
        if not task.cancelled():
            task.exception()  # where the client has gone, nobody else looks at it


async def wait_for(request: Request, task: asyncio.Task[Any], seconds: float | None = None) -> None:
    """Waits until a task is done, or for some seconds; takes it back where its client goes away.

    Raises:
        APIError: the client has gone.
    """
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if gone.done() and not task.done():
            raise APIError(CLIENT_CLOSED, "the client has closed the connection")
    except BaseException:
        task.cancel()
        raise
    finally:
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
