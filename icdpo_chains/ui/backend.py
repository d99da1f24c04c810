"""`Backend`: what all visitors of the page share: the ICDPO, its settings and its demonstrations."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from icdpo_chains.config import ICDPOConfig
    from icdpo_chains.demonstrations.store import DemonstrationStore
    from icdpo_chains.icdpo import ICDPO

__all__ = ["Backend"]


@dataclass(frozen=True)
class Backend:
    """What all visitors of the page share. Thread-safe.

    Attributes:
        icdpo: Answers the questions.
        store: The demonstrations that `icdpo` retrieves; reading them needs no lock.
        settings: The settings from which `icdpo` was built.
    """

    icdpo: ICDPO
    store: DemonstrationStore
    settings: ICDPOConfig
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def writing(self) -> Iterator[DemonstrationStore]:
        """Yields the store, open for writing; visitors write one after the other.

        Raises:
            StoreLockedError: Another process has the directory open for writing.
        """
        with self._lock, self.store.writable() as store:
            yield store
