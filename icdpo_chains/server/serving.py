"""Runs the application with uvicorn until it is told to stop."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from icdpo_chains.server.queue import Queue

__all__ = ["serve"]

_LINGER = 10
"""Seconds that clients have to read the rest of their responses, once all questions are answered."""


def serve(app: FastAPI, bound: socket.socket, on_ready: Callable[[], None] = lambda: None) -> None:
    """Serves until SIGTERM or SIGINT; then no new questions are taken, and those at work are finished.

    A second signal does not wait for them.

    Args:
        app: from `create_app`.
        bound: a socket that is bound to the address.
        on_ready: called when clients can connect.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # its lines would hold what is searched for
        server_header=False,
        timeout_keep_alive=65,
        timeout_graceful_shutdown=_LINGER,
        lifespan="off",
        ws="none",
    )
    with contextlib.closing(bound):
        _Server(config, app.state.service.queue, on_ready).run(sockets=[bound])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, queue: Queue, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._queue, self._on_ready = queue, on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    async def on_tick(self, counter: int) -> bool:
        drained = self._queue.closing and self._queue.taken == 0
        return await super().on_tick(counter) or drained

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not uvicorn's: that would close the door to /health at once, and in the end raise the signal again.
        if self._queue.closing:
            self.should_exit = self.force_exit = True
        self._queue.closing = True
