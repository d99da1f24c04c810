"""`LocalDirectory`: the common part of writing and reading a directory: locks, marks and checks."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icdpo_chains.demonstrations.chroma.database import DATABASE, has_collections
from icdpo_chains.demonstrations.chroma.index_state import Checksums, IndexState
from icdpo_chains.demonstrations.chroma.loading import loads
from icdpo_chains.demonstrations.chroma.place import Place, own_runtime
from icdpo_chains.errors import StoreError, StoreLockedError, StoreUnavailableError

__all__ = ["DamagedIndexError", "LocalDirectory", "Look"]

_INDEX_LOCK = "icdpo-index.lock"
_PATIENCE = 60.0
"""How long to wait for another process's write or loading of the index, in seconds."""

_spellings = itertools.count(1)


class DamagedIndexError(StoreUnavailableError):
    """The vector index is damaged; opening the directory for writing rebuilds it."""


@dataclass(frozen=True)
class Look:
    """The state of a collection's files.

    Attributes:
        state: `None` if there is no such collection.
        fault: the fault of the index; `None` if it is intact.
    """

    state: IndexState | None
    fault: str | None


class LocalDirectory(Place):
    """A directory on disk with a Chroma collection.

    Args:
        path: the directory.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path: Path = path
        self._index_lock: Any = None
        self._checksums = Checksums()

    def __str__(self) -> str:
        return f"the directory {str(self.path)!r}"

    def _open(self) -> Any:
        import chromadb

        own_runtime().check("Chroma", StoreError)
        # Chroma's clients in a process share their data if their paths are the same text, even if one of
        # them failed to load or the files have changed: so each client gets a different spelling.
        number = f"{next(_spellings):b}"
        spelling = "".join(("/", "/.")[int(bit)] for bit in number)
        try:
            return chromadb.PersistentClient(f"{self.path.resolve()}{spelling}")
        except (AttributeError, ValueError) as error:  # Chroma's own error handling fails
            raise StoreUnavailableError(
                f"the store in {self} can't be opened ({error.__context__ or error}): make it a writable "
                "directory, or restore it from a copy"
            ) from error

    def existing(self, name: str) -> Any:
        """Opens a collection that `look` has found.

        Chroma may not find it in a damaged database, and would create a second one of this name.

        Raises:
            StoreUnavailableError: Chroma does not find it.
        """
        import chromadb.errors

        self._client = self._open()
        try:
            return self._client.get_collection(name, embedding_function=None)
        except chromadb.errors.NotFoundError:
            raise StoreUnavailableError(
                f"the database {DATABASE} in {self} is damaged (Chroma does not find its collection "
                f"{name!r}): restore it from a copy"
            ) from None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other processes from changing the index, and from loading it."""
        import filelock

        if self._index_lock is None:
            # Not bound to a thread: one thread may open the store and another close it.
            self._index_lock = filelock.FileLock(self.path / _INDEX_LOCK, thread_local=False)
        try:
            held = self._index_lock.acquire(timeout=_PATIENCE)
        except filelock.Timeout:
            raise StoreLockedError(
                f"{self} is being written elsewhere for {_PATIENCE:.0f} seconds without a pause: wait for "
                "the writer to finish, and try again"
            ) from None
        with held:
            yield

    def writing_mark(self, collection: str) -> Path:
        """The file that exists while the collection with this id is being written."""
        return self.path / f"icdpo-writing-{collection}"

    def rebuilding_mark(self, collection: str) -> Path:
        """The file that exists until the index of the collection with this id is rebuilt."""
        return self.path / f"icdpo-rebuilding-{collection}"

    def look(self, name: str) -> Look:
        """Checks a collection's files before Chroma loads them.

        Raises:
            StoreUnavailableError: the database is empty or belongs to another store.
        """
        noted = IndexState.noted(self.path, name)
        found = IndexState.found(self.path, name, self._checksums)
        if found is None:
            index = noted.segment if noted is not None else self._orphaned_index()
            if index is not None:
                raise StoreUnavailableError(
                    f"the database {DATABASE} in {self} is empty or missing, and the index of a collection "
                    f"({index}) exists: restore the database from a copy, or, to start with an empty store, "
                    f"remove the directory's files"
                )
            return Look(None, None)
        if self.rebuilding_mark(found.collection).exists():
            return Look(found, "a rebuild was interrupted")
        if found.log_lost:
            return Look(found, "the database has lost its log of changes")
        if noted is None:
            # Written by an earlier version, or the note was lost.
            if found.records and not loads(self.path, name):
                return Look(found, "the index can't be loaded, or lacks vectors")
            with contextlib.suppress(OSError):  # the next opener checks again
                found.note(self.path, name)
        elif self.writing_mark(found.collection).exists():
            # Interrupted: new records may wait in the database for the index. The index files must be
            # unchanged, because Chroma does not overwrite them immediately.
            if (found.files, found.segment) != (noted.files, noted.segment):
                return Look(found, "writing it was interrupted")
        else:
            return Look(found, found.difference(noted))
        return Look(found, None)

    def _orphaned_index(self) -> str | None:
        """Returns the directory of an index if the database has no collection at all."""
        if has_collections(self.path):
            return None
        return next((file.parent.name for file in sorted(self.path.glob("*-*-*-*-*/header.bin"))), None)
