"""A Chroma collection in a directory: `Directory`, which one process writes to, and `ReadOnlyDirectory`.

Chroma keeps the demonstrations in a database, where they are safe, and their vectors in files that it
overwrites in place every thousand additions. A process that reads these files at that moment, or that is
killed there, is left with half of them. So a writer holds `icdpo-index.lock` while it changes the collection,
leaves the mark `icdpo-writing-...` meanwhile, and notes in the end what it has written (`IndexState`). Where
the files are not as they were noted, the index is built anew from the database. The mark
`icdpo-rebuilding-...` stays until that has come to its end.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from icdpo_chains.demonstrations.chroma.directory import DamagedIndexError, LocalDirectory
from icdpo_chains.demonstrations.chroma.index_state import DATABASE, IndexState
from icdpo_chains.demonstrations.chroma.place import Place
from icdpo_chains.errors import StoreError, StoreLockedError, StoreUnavailableError

__all__ = ["Directory", "ReadOnlyDirectory"]

_WRITER_LOCK = "icdpo-writer.lock"

_log = logging.getLogger(__name__)


class Directory(LocalDirectory):
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
        with self.alone():
            look = self.look(name)
            fault = look.fault
            if fault is None:
                collection = super().collection(name, metadata)
                try:
                    collection.count()  # loads the index
                except Exception as error:
                    if "hnsw" not in str(error).lower():
                        raise
                    fault = str(error)
                    Place.close(self)
            if fault is not None:
                _log.warning(
                    "the vector index in %s is damaged (%s), and is built anew from the demonstrations",
                    self,
                    fault,
                )
                self.index_lost = True
                found = look.state or IndexState.found(self.path, name, self._checksums)
                if found is not None:
                    self.rebuilding_mark(found.collection).touch()
                    found.forget_index(self.path)
                return super().collection(name, metadata)
            mark = self.writing_mark(str(collection.id))
            if look.state is None or mark.exists():
                self._note(name)
                mark.unlink(missing_ok=True)
            return collection

    def rebuilt(self, collection: Any) -> None:
        """Removes the marks of an index that was being built anew, and notes its state."""
        with self.alone():
            self._note(collection.name)
            for mark in (self.writing_mark, self.rebuilding_mark):
                mark(str(collection.id)).unlink(missing_ok=True)
        super().rebuilt(collection)

    @contextlib.contextmanager
    def writing(self, collection: Any) -> Iterator[None]:
        """Marks the collection as being written; the mark stays if that fails or the process is killed."""
        import chromadb.errors

        mark = self.writing_mark(str(collection.id))
        with self.alone():
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
                    self._note(collection.name)
                    mark.unlink(missing_ok=True)

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
                f"{self} is open for writing elsewhere (another process, or another store here): close "
                "that one, open this one with read_only=True, or let both use a Chroma server "
                "(DemonstrationStore.connect)"
            ) from None
        except OSError as error:
            raise StoreUnavailableError(
                f"{self} can't be written ({error}): make it a writable directory, or name another one"
            ) from error
        self._writer_lock = lock


class ReadOnlyDirectory(LocalDirectory):
    """A directory on disk that another process may be writing to.

    Args:
        path: a directory that holds a store.
    """

    read_only = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._seen: tuple[Any, list[str]] = ({}, [])

    def damaged(self, name: str) -> bool:
        """Returns whether a collection's index is damaged or half-written: a writer has to mend it."""
        # While nobody writes: a writer that lives takes its mark away before it lets go.
        with self._quiet(name) as there:
            return there and (self.look(name).fault is not None or bool(self._marks))

    def fault(self, name: str) -> str | None:
        """Returns why a collection's index can't be trusted; `None` where it can, or there is no store.

        Raises:
            StoreError: the database is empty or damaged, or is written throughout.
        """
        with self._quiet(name) as there:
            return self.look(name).fault if there else None

    @contextlib.contextmanager
    def _quiet(self, name: str) -> Iterator[bool]:
        """Waits until nobody writes; gives whether there is a store."""
        if not (self.path / DATABASE).exists() and IndexState.noted(self.path, name) is None:
            yield False
            return
        with self.errors(), self.alone():
            yield True

    @property
    def _marks(self) -> list[str]:
        return sorted(
            mark.name for kind in ("writing", "rebuilding") for mark in self.path.glob(f"icdpo-{kind}-*")
        )

    def collection(self, name: str, metadata: Mapping[str, Any]) -> Any:
        """Opens the collection, which must be there."""
        if not (self.path / DATABASE).exists():
            raise StoreUnavailableError(
                f"there is no store in {self}: fill one first (`icdpo import --store {self.path} FILE`, or "
                "DemonstrationStore(path).add(...)), or check the path"
            )
        import chromadb.errors

        with self.alone():
            fault = self.look(name).fault
            if fault is not None:
                raise DamagedIndexError(
                    f"the vector index in {self} is damaged ({fault}): open the store again for writing, "
                    "which mends its index"
                )
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
