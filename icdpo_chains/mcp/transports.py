"""The transports of the server: standard input and output, and streamable HTTP."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from io import TextIOWrapper
from typing import IO, TYPE_CHECKING, Any, cast

from icdpo_chains.foundation.network import bears_key
from icdpo_chains.server.limits import ServerLimits

if TYPE_CHECKING:
    from mcp.server.fastmcp import FastMCP

__all__ = ["protocol_output", "run_http", "run_stdio"]

_MOST_BYTES = 4 * 2**20
"""The largest body in bytes; the limit of newer versions of the SDK."""

_LINGER = 10
"""Seconds for answers in progress to finish when the server stops."""


@contextlib.contextmanager
def protocol_output() -> Iterator[IO[str]]:
    """Reserves standard output for the protocol; other output goes to standard error meanwhile."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)  # the file descriptor, because C libraries print too
    try:
        with os.fdopen(os.dup(kept), "w", encoding="utf-8", newline="\n") as output:
            yield output
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def run_stdio(server: FastMCP, output: IO[str]) -> None:
    """Serves the client on standard input and `output` until the client closes its end, or until SIGTERM."""
    import anyio
    from mcp.server.stdio import stdio_server

    async def run() -> None:
        text = TextIOWrapper(sys.stdin.buffer, encoding="utf-8", errors="surrogateescape")
        lines = _MessageLines(anyio.wrap_file(text))
        async with stdio_server(cast("Any", lines), anyio.wrap_file(output)) as (messages, answers):
            lines.answers = answers  # the SDK has not read a line yet
            protocol = server._mcp_server  # FastMCP's own `run` writes to sys.stdout
            await protocol.run(messages, answers, protocol.create_initialization_options())

    with contextlib.suppress(ValueError):  # not in the main thread
        # A thread waits for standard input and can't be stopped; the store is safe at any moment.
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    anyio.run(run)


def run_http(
    server: FastMCP,
    bound: socket.socket,
    *,
    api_key: str | None = None,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Serves streamable HTTP at `/mcp`, until SIGTERM or Ctrl-C.

    Without a key, the server answers only requests whose host is a loopback name or address. A web page whose
    host name resolves to this machine (DNS rebinding) sends its own host name and is refused.

    Args:
        server: from `create_mcp_server`.
        bound: a socket bound to the address.
        api_key: the key that each request must send as `Authorization: Bearer`; any host name is then valid.
        on_ready: called when clients can connect.
    """
    import uvicorn

    from icdpo_chains.mcp.whole_bodies import WholeBodies
    from icdpo_chains.server.middleware.body_limit import BodyLimit
    from icdpo_chains.server.timed_protocol import TimedProtocol

    if api_key is not None and server.settings.transport_security is not None:
        server.settings.transport_security.enable_dns_rebinding_protection = False
    app = server.streamable_http_app()
    app.add_middleware(WholeBodies)
    app.add_middleware(BodyLimit, most=_MOST_BYTES, seconds=ServerLimits.body_timeout)
    if api_key is not None:
        app.add_middleware(_KeyDemanded, key=api_key)
    config = uvicorn.Config(app, http=TimedProtocol, log_level="warning", timeout_graceful_shutdown=_LINGER)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            on_ready()

        def handle_exit(self, sig: int, frame: Any) -> None:
            # uvicorn's own handler raises the signal again at the end, which would be the exit status.
            self.force_exit = self.should_exit
            self.should_exit = True

    Server(config).run(sockets=[bound])


class _MessageLines:
    """The lines that are messages. Answers the others, which the SDK would only log; skips blank lines.

    Args:
        lines: lines of standard input.

    Attributes:
        answers: the stream of the server's messages.
    """

    answers: Any

    def __init__(self, lines: AsyncIterable[str]) -> None:
        self._lines = lines

    async def __aiter__(self) -> AsyncIterator[str]:
        from mcp.shared.message import SessionMessage
        from mcp.types import JSONRPCMessage

        from icdpo_chains.mcp.json_rpc import refusal_of

        async for line in self._lines:
            if not line.strip():
                continue
            refusal = refusal_of(line)
            if refusal is None:
                yield line
            else:
                await self.answers.send(SessionMessage(JSONRPCMessage(refusal)))


class _KeyDemanded:
    """Middleware that checks the key before it reads a body."""

    def __init__(self, app: Any, key: str) -> None:
        self._app, self._key = app, key

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.responses import PlainTextResponse

        answer = self._app
        if scope["type"] == "http" and not bears_key(scope["headers"], self._key):
            answer = PlainTextResponse(
                "the API key is missing or wrong: send it as `Authorization: Bearer KEY`",
                401,
                {"WWW-Authenticate": "Bearer"},
            )
        await answer(scope, receive, send)
