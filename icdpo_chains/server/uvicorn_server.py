"""Runs the application with uvicorn until a signal stops it."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from icdpo_chains.server.queue import Queue
from icdpo_chains.server.timed_protocol import TimedProtocol

__all__ = ["serve"]

_LINGER = 10
"""Seconds for clients to read the rest of their responses after all questions are answered."""

_SAY_EVERY = 5.0
"""Seconds between two reports of a shutdown's progress."""


def serve(app: FastAPI, bound: socket.socket, on_ready: Callable[[], None] = lambda: None) -> None:
    """Serves until SIGTERM or SIGINT.

    After the first signal, the server refuses new questions, finishes the questions in progress, and reports
    their number on standard error. A second signal cancels them: their clients get a 503.

    Args:
        app: from `create_app`.
        bound: a socket bound to the address.
        on_ready: called when clients can connect.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # its lines would contain search texts; see `AccessLog`
        server_header=False,
        timeout_keep_alive=65,
        timeout_graceful_shutdown=_LINGER,
        http=TimedProtocol,
        lifespan="off",
        ws="none",
    )
    with contextlib.closing(bound):
        _Server(config, app.state.service.queue, on_ready).run(sockets=[bound])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, queue: Queue, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._queue, self._on_ready = queue, on_ready
        self._say_next = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    async def on_tick(self, counter: int) -> bool:
        left = self._queue.taken
        if self._queue.closing and left and time.monotonic() >= self._say_next:
            self._say_next = time.monotonic() + _SAY_EVERY
            sys.stderr.write(
                f"icdpo: shutting down: {left} question{'s' * (left > 1)} still in progress; "
                "a second Ctrl-C or SIGTERM cancels\n"
            )
            sys.stderr.flush()
        drained = self._queue.closing and left == 0
        return await super().on_tick(counter) or drained

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn's own handler would refuse connections to /health immediately, and re-raise the signal.
        if self._queue.closing:
            self.force_exit = self.should_exit  # a third signal does not wait for the clients
            self.should_exit = True
            self._queue.cancel()
        self._queue.closing = True
