"""`Queue`: how many questions the server works on, how long, and for whom."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from fastapi import Request

from icdpo_chains.concurrency import cancellation
from icdpo_chains.server.errors import APIError

__all__ = ["CLIENT_CLOSED", "Queue", "wait_for"]

T = TypeVar("T")

CLIENT_CLOSED = 499
"""nginx's status for a request whose client has gone: only metrics and the access log show it."""

_THREADS = 64
"""Policies answer waiting threads together, so that many threads make large batches."""


class Queue:
    """Bounds the questions at work. One event loop uses it.

    Each question holds its place until its thread has stopped, even if its client has left or its time is
    up: the number of places bounds the work, not the number of open connections.

    Args:
        most: how many questions may be at work or wait.
        timeout: seconds after which a question is cancelled.

    Attributes:
        taken: how many questions are at work or wait.
        closing: the server shuts down and takes no more questions.
    """

    def __init__(self, most: int, timeout: float) -> None:
        self._most, self._timeout = most, timeout
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="icdpo-server")
        self._events: set[threading.Event] = set()
        self.taken = 0
        self.closing = False

    def start(self, work: Callable[[], T], count: int = 1) -> asyncio.Task[T]:
        """Starts work in a thread.

        Args:
            work: the blocking call. Its stages look at `cancellation`, see `check_cancelled`.
            count: how many questions the work answers.

        Returns:
            A task with the result or the error of the work. Cancelling the task cancels the work.

        Raises:
            APIError: the queue is full (429), or the server shuts down (503).
        """
        if self.closing:
            raise APIError(503, "the server shuts down: ask another one, or later", code="shutting_down")
        if count > self._most:
            raise APIError(
                400, f"the request has {count} questions, and the limit is {self._most}: send fewer at once"
            )
        if self.taken + count > self._most:
            raise APIError(
                429,
                f"{self.taken} questions are at work or wait, and the limit is {self._most}: ask again later",
                code="queue_full",
            )
        self.taken += count
        cancelled = threading.Event()
        self._events.add(cancelled)
        context = contextvars.copy_context()
        context.run(cancellation.set, cancelled)
        loop = asyncio.get_running_loop()
        thread = self._threads.submit(context.run, work)

        def stopped(_: Future[T]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody counts any more
                loop.call_soon_threadsafe(self._free, cancelled, count)

        def ended(task: asyncio.Task[T]) -> None:
            cancelled.set()
            thread.cancel()
            if not task.cancelled():
                task.exception()  # marks it as seen: a client that has left does not look at it

        thread.add_done_callback(stopped)
        task = loop.create_task(self._bounded(thread))
        task.add_done_callback(ended)
        return task

    def cancel(self) -> None:
        """Cancels all work, so that its threads stop at their next stage."""
        for event in self._events:
            event.set()

    def _free(self, cancelled: threading.Event, count: int) -> None:
        self._events.discard(cancelled)
        self.taken -= count

    async def _bounded(self, thread: Future[T]) -> T:
        try:
            return await asyncio.wait_for(asyncio.wrap_future(thread), self._timeout)
        except asyncio.TimeoutError:
            raise APIError(
                504,
                f"the answer took longer than {self._timeout:g} seconds: ask for fewer candidates or tokens, "
                "or at a quieter time",
                code="timeout",
            ) from None


async def wait_for(
    request: Request,
    task: asyncio.Task[Any],
    seconds: float | None = None,
    until: Coroutine[Any, Any, None] | None = None,
) -> None:
    """Waits until a task is done, or for some seconds. Cancels the task if its client leaves.

    Args:
        request: the client's.
        task: the work.
        seconds: the longest wait.
        until: ends the wait as well.

    Raises:
        APIError: the client has gone.
    """
    gone = asyncio.ensure_future(_disconnected(request))
    other = None if until is None else asyncio.ensure_future(until)
    waited = {task, gone} if other is None else {task, gone, other}
    try:
        await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if gone.done() and not task.done():
            raise APIError(CLIENT_CLOSED, "the client has closed the connection")
    except BaseException:
        task.cancel()
        raise
    finally:
        gone.cancel()
        if other is not None:
            other.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
