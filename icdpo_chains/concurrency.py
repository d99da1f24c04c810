"""`cancellation`: the event with which one thread cancels the work of another."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from contextvars import ContextVar

__all__ = ["cancellation", "check_cancelled"]

cancellation: ContextVar[threading.Event | None] = ContextVar("icdpo_cancellation", default=None)
"""Set an event here; setting the event cancels later requests in this context."""


def check_cancelled() -> None:
    """Ends the work of this context if its caller has cancelled it.

    Call it before each long step: retrieval, rendering, sampling, scoring.

    Raises:
        CancelledError: the event in `cancellation` is set.
    """
    event = cancellation.get()
    if event is not None and event.is_set():
        raise CancelledError
