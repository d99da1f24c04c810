"""Runs the application with uvicorn until it is told to stop."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from icdpo_chains.errors import ICDPOError
from icdpo_chains.server.queue import Queue

__all__ = ["bind", "serve", "url"]

_LINGER = 10
"""Seconds that clients have to read the rest of their responses, once all questions are answered."""


def bind(host: str, port: int) -> socket.socket:
    """Takes an address, before anything is loaded that takes long; clients can't connect yet.

    Raises:
        ICDPOError: it can't be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except BaseException:
            bound.close()
            raise
        return bound
    except OSError as error:
        why = "it is in use" if error.errno == errno.EADDRINUSE else str(error.strerror or error)
        raise ICDPOError(
            f"the server can't listen at {host} port {port}: {why}. Choose another by --host and --port"
        ) from None


def url(bound: socket.socket) -> str:
    """Returns the base URL that clients take for a bound address."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"


def serve(app: FastAPI, bound: socket.socket, on_ready: Callable[[], None] = lambda: None) -> None:
    """Serves until SIGTERM or SIGINT; then no new questions are taken, and those at work are finished.

    A second signal does not wait for them.

    Args:
        app: from `create_app`.
        bound: from `bind`.
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
