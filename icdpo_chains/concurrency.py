"""`cancellation`: the event by which one thread takes back the work of another."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from contextvars import ContextVar

__all__ = ["cancellation", "check_cancelled"]

cancellation: ContextVar[threading.Event | None] = ContextVar("icdpo_cancellation", default=None)
"""Set an event here; setting the event cancels later requests in this context."""


def check_cancelled() -> None:
    """Ends the work of this context if its caller has taken it back.

    Call it before each step that takes long: retrieval, rendering, sampling, scoring.

    Raises:
        CancelledError: the event in `cancellation` is set.
    """
    event = cancellation.get()
    if event is not None and event.is_set():
        raise CancelledError
