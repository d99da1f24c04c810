"""`TimedProtocol`: HTTP connections on which the headers of a request must arrive in time."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

from icdpo_chains.server.limits import HEADER_SECONDS

__all__ = ["TimedProtocol"]


class TimedProtocol(H11Protocol):
    """uvicorn's protocol. It closes connections whose request lacks headers after `HEADER_SECONDS`.

    uvicorn waits for the rest of a request for ever; a client that sends half of one keeps a connection.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the time of the first request."""
        super().connection_made(transport)
        self._start()

    def data_received(self, data: bytes) -> None:
        """Starts the time of a later request, and stops it when the headers are complete."""
        if self._timer is None and self._between_requests():
            self._start()
        super().data_received(data)
        if not self._between_requests():
            self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the time."""
        self._stop()
        super().connection_lost(exc)

    def _between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _start(self) -> None:
        self._timer = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
