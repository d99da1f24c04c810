"""`Connection`: an HTTP client on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import httpx

__all__ = ["Connection"]

T = TypeVar("T")


class Connection:
    """An HTTP client with its own event loop, for synchronous callers.

    Args:
        client: the client; it is closed with the connection.
        max_in_flight: the number of `slots`.
    """

    def __init__(self, client: httpx.AsyncClient, max_in_flight: int) -> None:
        self.client = client
        self.slots = asyncio.Semaphore(max_in_flight)
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="icdpo-vllm", daemon=True)
        self._thread.start()

    @property
    def usable(self) -> bool:
        """Whether the thread is alive; a forked process has no such thread."""
        return self._pid == os.getpid() and self._thread.is_alive()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Runs a coroutine on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """Cancels running coroutines and ends the thread."""
        if not self.usable:
            return
        asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        if threading.current_thread() is not self._thread:
            self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self.client.aclose()
        self._loop.stop()
