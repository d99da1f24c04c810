"""A Chroma collection in a directory: `Directory` for the one writing process, and `ReadOnlyDirectory`.

Chroma keeps the demonstrations in a database, where they are safe, and their vectors in files that it
overwrites in place every thousand additions. A process that reads these files at that moment, or is killed,
gets half of them. A writer therefore holds `icdpo-index.lock` during a change of the collection, leaves the
mark `icdpo-writing-...` meanwhile, and writes a note of the result at the end (`IndexState`). If the files
differ from the note, the index is rebuilt from the database. The mark `icdpo-rebuilding-...` exists until the
rebuild is complete.
"""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from icdpo_chains.demonstrations.chroma.database import has_database
from icdpo_chains.demonstrations.chroma.directory import DamagedIndexError, LocalDirectory, Look
from icdpo_chains.demonstrations.chroma.index_state import IndexState
from icdpo_chains.demonstrations.chroma.place import Place
from icdpo_chains.errors import StoreError, StoreLockedError, StoreUnavailableError

__all__ = ["Directory", "ReadOnlyDirectory"]

_WRITER_LOCK = "icdpo-writer.lock"

_log = logging.getLogger(__name__)


class Directory(LocalDirectory):
    """A directory on disk, opened exclusively for writing.

    Args:
        path: the directory; created if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._writer_lock: Any = None
        self._failed = False

    def collection(self, name: str, metadata: Mapping[str, Any]) -> Any:
        """Opens or creates the collection; discards a damaged vector index."""
        self._acquire()
        with self.alone():
            look = self.look(name)
            fault = look.fault
            if fault is None:
                collection = self._opened(look, name, metadata)
                try:
                    collection.count()  # loads the index
                except Exception as error:
                    if "hnsw" not in str(error).lower():
                        raise
                    fault = str(error)
                    Place.close(self)
            if fault is not None:
                _log.warning(
                    "the vector index in %s is damaged (%s), and is rebuilt from the demonstrations",
                    self,
                    fault,
                )
                self.index_lost = True
                found = look.state or IndexState.found(self.path, name, self._checksums)
                if found is not None:
                    self.rebuilding_mark(found.collection).touch()
                    found.forget_index(self.path)
                return self._opened(look, name, metadata)
            mark = self.writing_mark(str(collection.id))
            if look.state is None or mark.exists():
                self._note(name)
                mark.unlink(missing_ok=True)
            return collection

    def rebuilt(self, collection: Any) -> None:
        """Removes the marks of a rebuild and notes the state of the index."""
        with self.alone():
            self._note(collection.name)
            for mark in (self.writing_mark, self.rebuilding_mark):
                mark(str(collection.id)).unlink(missing_ok=True)
        super().rebuilt(collection)

    @contextlib.contextmanager
    def writing(self, collection: Any) -> Iterator[None]:
        """Marks the collection as being written; the mark stays after a failure or a kill."""
        import chromadb.errors

        mark = self.writing_mark(str(collection.id))
        with self.alone():
            mark.touch()
            # Refused before anything was written, or interrupted between two calls of Chroma.
            refused = chromadb.errors.InvalidArgumentError
            harmless = (ValueError, TypeError, refused, KeyboardInterrupt, SystemExit)
            try:
                # Chroma updates the index at its next read: read before any other process does.
                try:
                    yield
                except harmless:
                    collection.count()
                    raise
                collection.count()
            except harmless:
                raise
            except BaseException:
                self._failed = True
                raise
            finally:
                if not self._failed:
                    self._note(collection.name)
                    mark.unlink(missing_ok=True)

    def _opened(self, look: Look, name: str, metadata: Mapping[str, Any]) -> Any:
        """Opens the collection, and creates only an unknown one."""
        return super().collection(name, metadata) if look.state is None else self.existing(name)

    def _note(self, name: str) -> None:
        state = IndexState.found(self.path, name, self._checksums)
        if state is not None:
            state.note(self.path, name)

    def close(self) -> None:
        """Releases the client and the lock."""
        super().close()
        if self._writer_lock is not None:
            self._writer_lock.release()

    def _acquire(self) -> None:
        import filelock

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.path / _WRITER_LOCK, thread_local=False)
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise StoreLockedError(
                f"{self} is open for writing in another process, or in another store here: close "
                "it, open this store with read_only=True, or use a Chroma server for both "
                "(DemonstrationStore.connect)"
            ) from None
        except OSError as error:
            if error.errno in (errno.EISDIR, errno.ELOOP):  # the lock: `errors` has the remedy
                raise
            raise StoreUnavailableError(
                f"{self} can't be written ({error}): make it a writable directory, or give another one"
            ) from error
        self._writer_lock = lock


class ReadOnlyDirectory(LocalDirectory):
    """A directory on disk that another process may write to.

    Args:
        path: a directory that contains a store.
    """

    read_only = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._seen: tuple[Any, list[str]] = ({}, [])

    def damaged(self, name: str) -> bool:
        """Returns whether a collection's index is damaged or half-written; a writer must repair it."""
        # While nobody writes: a live writer removes its mark before it releases the lock.
        with self._quiet(name) as there:
            return there and (self.look(name).fault is not None or bool(self._marks))

    def fault(self, name: str) -> str | None:
        """Returns the fault of a collection's index; `None` if it is intact or there is no store.

        Raises:
            StoreError: the database is empty or damaged, or is being written without a pause.
        """
        with self._quiet(name) as there:
            return self.look(name).fault if there else None

    @contextlib.contextmanager
    def _quiet(self, name: str) -> Iterator[bool]:
        """Waits until nobody writes; yields whether there is a store."""
        if not has_database(self.path) and IndexState.noted(self.path, name) is None:
            yield False
            return
        with self.errors(), self.alone():
            yield True

    @property
    def _marks(self) -> list[str]:
        return sorted(
            mark.name for kind in ("writing", "rebuilding") for mark in self.path.glob(f"icdpo-{kind}-*")
        )

    def check_exists(self) -> None:
        """Checks that there is a store.

        Raises:
            StoreUnavailableError: there is none, or something other than a file is in the place of its
                database.
        """
        if not has_database(self.path):
            raise StoreUnavailableError(
                f"there is no store in {self}: create one (`icdpo import --store {self.path} FILE`, or "
                "DemonstrationStore(path).add(...)), or check the path"
            )

    def collection(self, name: str, metadata: Mapping[str, Any]) -> Any:
        """Opens the existing collection."""
        self.check_exists()
        with self.alone():
            look = self.look(name)
            if look.fault is not None:
                raise DamagedIndexError(
                    f"the vector index in {self} is damaged ({look.fault}): open the store again for "
                    "writing, which repairs its index"
                )
            if look.state is None:
                self._client = self._open()
                known = ", ".join(sorted(found.name for found in self._client.list_collections())) or "none"
                raise StoreError(f"{self} has no collection {name!r}: use one of its collections: {known}")
            collection = self.existing(name)
            collection.count()  # loads the index
            # A killed writer may have written without recording the change: its mark is new then.
            self._seen = (collection.metadata, self._marks)
        return collection

    def current(self, collection: Any) -> tuple[Any, str]:
        """Reopens a changed directory: only a new client finds the changes of other processes."""
        now = self._client.get_collection(collection.name, embedding_function=None)
        if (now.metadata, self._marks) != self._seen:
            before = self._client
            collection = self.collection(collection.name, {})
            before.close()
        return collection, " ".join(self._seen[1])
