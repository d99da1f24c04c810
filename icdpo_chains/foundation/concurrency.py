"""`cancellation` of another thread's work; `Owner`: an object's process; `LOADING`: one model at a time."""

from __future__ import annotations

import os
import threading
from concurrent.futures import CancelledError
from contextvars import ContextVar

__all__ = ["LOADING", "Owner", "cancellation", "check_cancelled"]

cancellation: ContextVar[threading.Event | None] = ContextVar("icdpo_cancellation", default=None)
"""Set an event here; setting the event cancels later requests in this context."""

LOADING = threading.RLock()
"""Held while a model is loaded: the modules of transformers import each other, so that a second thread could
meet one half imported."""


def check_cancelled() -> None:
    """Ends the work of this context if its caller has cancelled it.

    Call it before each long step: retrieval, rendering, sampling, scoring.

    Raises:
        CancelledError: the event in `cancellation` is set.
    """
    event = cancellation.get()
    if event is not None and event.is_set():
        raise CancelledError


class Owner:
    """Remembers the process that built an object; the object does not work in forked processes.

    The threads of the libraries of a model or a store do not exist in a forked process: a call that waits
    for them would never return.
    """

    def __init__(self) -> None:
        self._process = os.getpid()

    @property
    def is_elsewhere(self) -> bool:
        """Whether this process was forked after the object was built."""
        return os.getpid() != self._process

    def check(self, what: str, error: type[Exception]) -> None:
        """Raises an error in a forked process.

        Args:
            what: the object, in words.
            error: the class of the error.
        """
        if self.is_elsewhere:
            raise error(
                f"{what} was loaded before this process was forked, and does not work in a forked process: "
                "load it after the fork (gunicorn: without --preload), or start processes with "
                'multiprocessing.get_context("spawn")'
            )
