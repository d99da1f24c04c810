"""A Chroma collection in a directory: `Directory`, which one process writes to, and `ReadOnlyDirectory`.

Chroma keeps the demonstrations in a database, where they are safe, and their vectors in files that it
overwrites in place every thousand additions. A process that reads these files at that moment, or that is
killed there, is left with half of them. So whoever changes the collection holds `icdpo-index.lock` and leaves
a mark, and who finds the mark without the lock builds the vectors anew from the database.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from icdpo_chains.demonstrations.chroma.place import Place
from icdpo_chains.errors import StoreError, StoreLockedError, StoreUnavailableError

__all__ = ["Directory", "ReadOnlyDirectory"]

_DATABASE = "chroma.sqlite3"
_WRITER_LOCK, _INDEX_LOCK = "icdpo-writer.lock", "icdpo-index.lock"
_PATIENCE = 60.0
"""Seconds that one waits for another's write, or for another to load the index."""

_spellings = itertools.count(1)
_log = logging.getLogger(__name__)


class _Directory(Place):
    """What both kinds share."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path: Path = path
        self._index_lock: Any = None

    def __str__(self) -> str:
        return f"the directory {str(self.path)!r}"

    def _open(self) -> Any:
        import chromadb

        # A process's clients share what they loaded if their paths are the same text, also when one of them
        # failed to load it or when the files have changed: so each spells the path in its own way.
        number = f"{next(_spellings):b}"
        spelling = "".join(("/", "/.")[int(bit)] for bit in number)
        try:
            return chromadb.PersistentClient(f"{self.path.resolve()}{spelling}")
        except (AttributeError, ValueError) as error:  # Chroma stumbles over its own failure
            raise StoreUnavailableError(
                f"the store in {self} can't be opened ({error.__context__ or error}): make it a writable "
                "directory, or restore it from a copy"
            ) from error

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keeps other processes from changing the index, and from loading it."""
        import filelock

        if self._index_lock is None:
            # Not bound to a thread: one may open the store and another close it.
            self._index_lock = filelock.FileLock(self.path / _INDEX_LOCK, thread_local=False)
        try:
            held = self._index_lock.acquire(timeout=_PATIENCE)
        except filelock.Timeout:
            raise StoreLockedError(
                f"{self} has been written elsewhere for {_PATIENCE:.0f} seconds without a pause: wait for "
                "that to end, and try again"
            ) from None
        with held:
            yield

    def _mark(self, collection: Any) -> Path:
        return self.path / f"icdpo-writing-{collection.id}"


class Directory(_Directory):
    """A directory on disk, open for writing, which nobody else may then do.

    Args:
        path: made where it does not exist.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._writer_lock: Any = None
        self._failed = False

    def collection(self, name: str, metadata: Mapping[str, Any]) -> Any:
        """Opens the collection, or makes it; throws its vector index away if that can't be trusted."""
        self._acquire()
        with self._alone():
            collection = super().collection(name, metadata)
            mark, index = self._mark(collection), self._index_files(collection)
            # If all of the index is older than the mark, the write that failed had not come to it.
            torn = mark.exists() and (
                not index.exists()
                or any(file.stat().st_mtime_ns >= mark.stat().st_mtime_ns for file in index.iterdir())
            )
            if not torn:
                try:
                    collection.count()  # loads the index
                    mark.unlink(missing_ok=True)
                    return collection
                except Exception as error:
                    if "hnsw" not in str(error).lower():
                        raise
                    mark.touch()
            _log.warning("the vector index in %s is damaged, and is built anew from the demonstrations", self)
            self.index_lost = True
            Place.close(self)
            shutil.rmtree(index, ignore_errors=True)
            return super().collection(name, metadata)

    @contextlib.contextmanager
    def writing(self, collection: Any) -> Iterator[None]:
        """Marks the collection as being written; the mark stays if that fails or the process is killed."""
        import chromadb.errors

        mark = self._mark(collection)
        with self._alone():
            if not mark.exists():  # an older mark says more
                mark.touch()
            # Refused before anything was written, or interrupted, which comes between two calls of Chroma.
            refused = chromadb.errors.InvalidArgumentError
            harmless = (ValueError, TypeError, refused, KeyboardInterrupt, SystemExit)
            try:
                # Chroma takes what was written into the index when it next reads: before anybody else looks.
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
                    mark.unlink()

    def close(self) -> None:
        """Releases the client and the lock."""
        super().close()
        if self._writer_lock is not None:
            self._writer_lock.release()

    def _index_files(self, collection: Any) -> Path:
        """Returns the directory of the vector index, which Chroma names by an id that only it knows."""
        with contextlib.closing(sqlite3.connect(self.path / _DATABASE)) as database:
            query = "SELECT id FROM segments WHERE scope = 'VECTOR' AND collection = ?"
            (segment,) = database.execute(query, (str(collection.id),)).fetchone()
        return self.path / str(segment)

    def _acquire(self) -> None:
        import filelock

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.path / _WRITER_LOCK, thread_local=False)
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise StoreLockedError(
                f"{self} is open for writing elsewhere (another process, or another store here): close "
                "that one, open this one with read_only=True, or let both use a Chroma server "
                "(DemonstrationStore.connect)"
            ) from None
        except OSError as error:
            raise StoreUnavailableError(
                f"{self} can't be written ({error}): make it a writable directory, or name another one"
            ) from error
        self._writer_lock = lock


class ReadOnlyDirectory(_Directory):
    """A directory on disk that another process may be writing to.

    Args:
        path: a directory that holds a store.
    """

    read_only = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._seen: tuple[Any, list[str]] = ({}, [])

    @property
    def interrupted(self) -> bool:
        """Whether a writer was killed at work, so that the directory has to be opened for writing once."""
        if not self._marks:
            return False
        with self.errors(), self._alone():  # a writer that lives takes its mark away before it lets go
            return bool(self._marks)

    @property
    def _marks(self) -> list[str]:
        return sorted(mark.name for mark in self.path.glob("icdpo-writing-*"))

    def collection(self, name: str, metadata: Mapping[str, Any]) -> Any:
        """Opens the collection, which must be there."""
        if not (self.path / _DATABASE).exists():
            raise StoreUnavailableError(
                f"there is no store in {self}: fill one first (`icdpo import --store {self.path} FILE`, or "
                "DemonstrationStore(path).add(...)), or check the path"
            )
        import chromadb.errors

        with self._alone():
            self._client = self._open()
            try:
                collection = self._client.get_collection(name, embedding_function=None)
            except chromadb.errors.NotFoundError:
                known = ", ".join(sorted(found.name for found in self._client.list_collections())) or "none"
                raise StoreError(
                    f"{self} has no collection {name!r}: name one of those it has: {known}"
                ) from None
            collection.count()  # loads the index
            # A writer that is killed may have written, and not recorded it: but then its mark is new.
            self._seen = (collection.metadata, self._marks)
        return collection

    def current(self, collection: Any) -> tuple[Any, str]:
        """Opens the directory again if it has changed: what others wrote is only searched by a new client."""
        now = self._client.get_collection(collection.name, embedding_function=None)
        if (now.metadata, self._marks) != self._seen:
            before = self._client
            collection = self.collection(collection.name, {})
            before.close()
        return collection, " ".join(self._seen[1])
