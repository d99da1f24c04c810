"""`Connection`: an HTTP client and the event loop that it lives on, in a thread of its own."""

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
    """A client on an event loop of its own, for whoever is not on one.

    Args:
        client: the client; it is closed with the connection.
        max_in_flight: how many `slots` there are.
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
        """Whether its thread lives: in a forked process it does not."""
        return self._pid == os.getpid() and self._thread.is_alive()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Has a coroutine run on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """Cancels what runs, and ends the thread."""
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
