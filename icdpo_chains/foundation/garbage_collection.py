"""`paused_garbage_collection`: for imports, whose objects are never garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["paused_garbage_collection"]


@contextmanager
def paused_garbage_collection(*, freeze: bool = False) -> Iterator[None]:
    """Pauses Python's garbage collection.

    An import of torch and transformers creates a million objects, and collections meanwhile, which find
    nothing, take a tenth of its time. The former state returns at the end, also after an error. Pauses may be
    nested.

    Args:
        freeze: no later collection looks at the objects again, not even that at the end of the process, which
            takes seconds with torch. Only for a process that keeps its objects, such as a command.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            # Moves all objects to the oldest generation without a look at them. Otherwise the next collection
            # takes the time that the pause has saved.
            if freeze:
                gc.freeze()
            elif gc.get_freeze_count() == 0:
                gc.freeze()
                gc.unfreeze()
            gc.enable()
