"""`Queue`: bounds the number, the duration and the waiting of questions."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from fastapi import Request

from icdpo_chains.foundation.concurrency import cancellation
from icdpo_chains.server.errors import APIError

__all__ = ["CLIENT_CLOSED", "Queue", "shutting_down", "wait_for"]

T = TypeVar("T")

CLIENT_CLOSED = 499
"""nginx's status for a request whose client has disconnected, for metrics and the access log."""

_THREADS = 64
"""Policies answer waiting threads together, so many threads make large batches."""


class Queue:
    """Bounds the questions in progress. Used by one event loop.

    Each question holds its place until its thread has stopped, even after its client has left or its time is
    up: the number of places bounds the work and not the number of open connections.

    Args:
        most: the maximum number of questions in progress or waiting.
        timeout: the seconds after which a question is cancelled.

    Attributes:
        taken: the number of questions in progress or waiting.
        closing: whether the server is shutting down and accepts no more questions.
    """

    def __init__(self, most: int, timeout: float) -> None:
        self._most, self._timeout = most, timeout
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="icdpo-server")
        self._events: set[threading.Event] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._all_cancelled = False
        self.taken = 0
        self.closing = False

    def start(self, work: Callable[[], T], count: int = 1) -> asyncio.Task[T]:
        """Starts work in a thread.

        Args:
            work: the blocking call. Its stages check `cancellation`; see `check_cancelled`.
            count: the number of questions in the work.

        Returns:
            A task with the result or the error of the work. Cancelling the task cancels the work.

        Raises:
            APIError: the queue is full (429), or the server shuts down (503).
        """
        if self.closing:
            raise shutting_down()
        if count > self._most:
            raise APIError(
                400, f"the request has {count} questions, and the limit is {self._most}: send fewer at once"
            )
        if self.taken + count > self._most:
            raise APIError(
                429,
                f"{self.taken} questions are in progress or waiting, and the limit is {self._most}: try "
                "again later",
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
            with contextlib.suppress(RuntimeError):  # the loop is closed: the count no longer matters
                loop.call_soon_threadsafe(self._free, cancelled, count)

        def ended(task: asyncio.Task[T]) -> None:
            self._tasks.discard(task)
            cancelled.set()
            thread.cancel()
            if not task.cancelled():
                task.exception()  # marks the exception as retrieved, a disconnected client never reads it

        thread.add_done_callback(stopped)
        task = loop.create_task(self._bounded(thread))
        self._tasks.add(task)
        task.add_done_callback(ended)
        return task

    def cancel(self) -> None:
        """Ends all requests with a 503; their threads stop at their next stage. The queue accepts no more."""
        self.closing = self._all_cancelled = True
        for event in tuple(self._events):
            event.set()
        for task in tuple(self._tasks):
            task.get_loop().call_soon_threadsafe(task.cancel)

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
        except asyncio.CancelledError:
            if not self._all_cancelled:
                raise
            raise APIError(
                503, "the server has shut down before the answer: ask again later", code="shutting_down"
            ) from None


def shutting_down() -> APIError:
    """Returns the answer to a request that comes too late."""
    return APIError(503, "the server is shutting down: use another one, or try later", code="shutting_down")


async def wait_for(
    request: Request,
    task: asyncio.Task[Any],
    seconds: float | None = None,
    until: Coroutine[Any, Any, None] | None = None,
) -> None:
    """Waits until a task is done, or for some seconds. Cancels the task if its client disconnects.

    Args:
        request: the client's request.
        task: the work.
        seconds: the longest wait.
        until: also ends the wait.

    Raises:
        APIError: the client has disconnected.
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
