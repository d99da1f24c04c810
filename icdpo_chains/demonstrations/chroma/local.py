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
import itertools
import logging
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icdpo_chains.demonstrations.chroma.index_state import DATABASE, Checksums, IndexState, has_collections
from icdpo_chains.demonstrations.chroma.loading import loads
from icdpo_chains.demonstrations.chroma.place import Place
from icdpo_chains.errors import StoreError, StoreLockedError, StoreUnavailableError

__all__ = ["Directory", "ReadOnlyDirectory"]

_WRITER_LOCK, _INDEX_LOCK = "icdpo-writer.lock", "icdpo-index.lock"
_PATIENCE = 60.0
"""Seconds that one waits for another's write, or for another to load the index."""

_spellings = itertools.count(1)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Look:
    """What was seen of a collection.

    Attributes:
        state: `None` where there is no such collection.
        fault: why its index can't be trusted; `None` where it can.
    """

    state: IndexState | None
    fault: str | None


class _Directory(Place):
    """What both kinds share."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path: Path = path
        self._index_lock: Any = None
        self._checksums = Checksums()

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

    def _writing_mark(self, collection: str) -> Path:
        return self.path / f"icdpo-writing-{collection}"

    def _rebuilding_mark(self, collection: str) -> Path:
        return self.path / f"icdpo-rebuilding-{collection}"

    def _look(self, name: str) -> _Look:
        """Looks at a collection's files, before Chroma loads them.

        Raises:
            StoreUnavailableError: the database is empty, or of another store.
        """
        noted = IndexState.noted(self.path, name)
        found = IndexState.found(self.path, name, self._checksums)
        if found is None:
            index = noted.segment if noted is not None else self._orphaned_index()
            if index is not None:
                raise StoreUnavailableError(
                    f"the database {DATABASE} in {self} is empty or missing, and the index of a collection "
                    f"({index}) is there: restore the database from a copy, or, to begin with nothing, "
                    f"remove the directory's files"
                )
            return _Look(None, None)
        if self._rebuilding_mark(found.collection).exists():
            return _Look(found, "building it anew was interrupted")
        if noted is None:
            # Written by an earlier version, or the note was lost.
            if found.records and not loads(self.path, name):
                return _Look(found, "the index can't be loaded, or lacks vectors")
            with contextlib.suppress(OSError):  # the next that opens it looks again
                found.note(self.path, name)
        elif self._writing_mark(found.collection).exists():
            # Interrupted: records may be new, and wait in the database for the index. Its files must be as
            # they were, since they are not overwritten at once.
            if (found.files, found.segment) != (noted.files, noted.segment):
                return _Look(found, "writing it was interrupted")
        else:
            return _Look(found, found.difference(noted))
        return _Look(found, None)

    def _orphaned_index(self) -> str | None:
        """Returns the directory of an index, if the database knows no collection at all."""
        if has_collections(self.path):
            return None
        return next((file.parent.name for file in sorted(self.path.glob("*-*-*-*-*/header.bin"))), None)


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
            look = self._look(name)
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
                    self._rebuilding_mark(found.collection).touch()
                    shutil.rmtree(self.path / found.segment, ignore_errors=True)
                return super().collection(name, metadata)
            mark = self._writing_mark(str(collection.id))
            if look.state is None or mark.exists():
                self._note(name)
                mark.unlink(missing_ok=True)
            return collection

    def rebuilt(self, collection: Any) -> None:
        """Takes the mark away that the index is built anew: it is whole."""
        with self._alone():
            self._note(collection.name)
            for mark in (self._writing_mark, self._rebuilding_mark):
                mark(str(collection.id)).unlink(missing_ok=True)
        super().rebuilt(collection)

    @contextlib.contextmanager
    def writing(self, collection: Any) -> Iterator[None]:
        """Marks the collection as being written; the mark stays if that fails or the process is killed."""
        import chromadb.errors

        mark = self._writing_mark(str(collection.id))
        with self._alone():
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


class ReadOnlyDirectory(_Directory):
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
        if not (self.path / DATABASE).exists() and IndexState.noted(self.path, name) is None:
            return False
        with self.errors(), self._alone():  # a writer that lives takes its mark away before it lets go
            return self._look(name).fault is not None or bool(self._marks)

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

        with self._alone():
            fault = self._look(name).fault
            if fault is not None:
                raise StoreUnavailableError(
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
