"""Where a Chroma collection lives: `Directory`, `Memory` or `Server`, and what can go wrong there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from icdpo_chains.errors import ICDPOError, StoreError, StoreLockedError, StoreUnavailableError

__all__ = ["Directory", "Memory", "Place", "Server"]

_LOCK = "icdpo-writer.lock"


class Place:
    """A Chroma client, opened when the collection is asked for.

    Attributes:
        path: the directory, where it is one.
        read_only: whether writing is refused.
        shared: whether somebody else may write while it is open.
    """

    path: Path | None = None
    read_only = False
    shared = False

    def __init__(self) -> None:
        self._client: Any = None

    @property
    def max_batch(self) -> int:
        """The most items of one request."""
        return int(self._client.get_max_batch_size())

    def collection(self, name: str, metadata: Mapping[str, Any]) -> Any:
        """Opens the collection; makes it, with this metadata and cosine space, where there is none."""
        self._client = self._open()
        return self._client.get_or_create_collection(
            name,
            embedding_function=None,  # embeddings are ours: without this, Chroma would fetch a model
            configuration={"hnsw": {"space": "cosine"}},
            metadata=dict(metadata),
        )

    def reopened(self, collection: Any, count: int) -> Any:
        """Returns the collection as others may have changed it since `collection` had `count` items."""
        return self._client.get_collection(collection.name, embedding_function=None)

    def close(self) -> None:
        """Releases the client; may be called twice."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turns what Chroma, its database and its network raise into errors that say what to do."""
        try:
            yield
        except (ICDPOError, TypeError, ValueError):
            raise
        except Exception as error:
            raise self._explained(error) from error
        except BaseException as error:
            # Chroma's Rust side panics on a damaged database; the exception is no `Exception`.
            if type(error).__name__ != "PanicException":
                raise
            raise StoreUnavailableError(
                f"the store in {self} can't be read, it seems to be damaged: restore it from a copy, or "
                "import the demonstrations into a new one"
            ) from error

    def _open(self) -> Any:
        raise NotImplementedError

    def _explained(self, error: Exception) -> ICDPOError:
        if self._client is None and not isinstance(error, OSError):
            return StoreUnavailableError(f"the store in {self} can't be opened: {error}")
        text = str(error).lower()
        remedies = {
            "disk is full": "free some space; what was written before is kept",
            "no space left": "free some space; what was written before is kept",
            "readonly": "make the directory writable, or open it with read_only=True",
            "read-only": "make the directory writable, or open it with read_only=True",
            "permission denied": "make the directory readable and writable",
            "malformed": "it is damaged: restore it from a copy, or import into a new one",
            "not a database": "it is damaged: restore it from a copy, or import into a new one",
            "unable to open database": "make the directory readable and writable",
            "disk i/o error": "check the disk; what was written before is kept",
            "connect": "start the server, or check its address",
        }
        for sign, remedy in remedies.items():
            if sign in text or sign in type(error).__name__.lower():
                return StoreUnavailableError(f"the store in {self} can't be used ({error}): {remedy}")
        return StoreError(f"Chroma refused a request to the store in {self}: {error}")


class Directory(Place):
    """A directory on disk, which one process at a time may write to.

    Args:
        path: the directory.
        read_only: take no lock.
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        super().__init__()
        self.path: Path = path
        self.read_only = read_only
        self.shared = read_only
        self._lock: Any = None

    def __str__(self) -> str:
        return f"the directory {str(self.path)!r}"

    def collection(self, name: str, metadata: Mapping[str, Any]) -> Any:
        """Opens the collection; makes it, unless the directory is open read-only."""
        if not self.read_only:
            self._acquire()
            return super().collection(name, metadata)
        if not (self.path / "chroma.sqlite3").exists():
            raise StoreUnavailableError(
                f"there is no store in {self}: fill one first (`icdpo import --store {self.path} FILE`, or "
                "DemonstrationStore(path).add(...)), or check the path"
            )
        import chromadb.errors

        self._client = self._open()
        try:
            return self._client.get_collection(name, embedding_function=None)
        except chromadb.errors.NotFoundError:
            known = ", ".join(sorted(found.name for found in self._client.list_collections())) or "none"
            raise StoreUnavailableError(f"{self} has no collection {name!r}; it has: {known}") from None

    def reopened(self, collection: Any, count: int) -> Any:
        """As for any place; what another process wrote is only searched by a client opened after it."""
        now = super().reopened(collection, count)
        if now.metadata == collection.metadata and now.count() == count:
            return collection
        super().close()
        self._client = self._open()
        return self._client.get_collection(collection.name, embedding_function=None)

    def close(self) -> None:
        """Releases the client and the lock."""
        super().close()
        if self._lock is not None:
            self._lock.release()

    def _open(self) -> Any:
        import chromadb

        return chromadb.PersistentClient(str(self.path.resolve()))

    def _acquire(self) -> None:
        import filelock

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.path / _LOCK)
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise StoreLockedError(
                f"{self} is open for writing elsewhere (another process, or another store here): close "
                "that one, open this one with read_only=True, or let both use a Chroma server "
                "(DemonstrationStore.connect)"
            ) from None
        except OSError as error:
            raise StoreUnavailableError(
                f"{self} can't be written ({error}): make it a writable directory, name another one, or open "
                "it with read_only=True"
            ) from error
        self._lock = lock


class Memory(Place):
    """Chroma's in-memory client. All of a process share it, so a collection's name must be its own."""

    def __str__(self) -> str:
        return "memory"

    def _open(self) -> Any:
        import chromadb

        return chromadb.EphemeralClient()


class Server(Place):
    """A Chroma server.

    Args:
        host: its name or address.
        port: its port.
        ssl: whether it speaks HTTPS.
        headers: sent with each request.
    """

    shared = True

    def __init__(self, host: str, port: int, *, ssl: bool, headers: dict[str, str]) -> None:
        super().__init__()
        self._host, self._port, self._ssl, self._headers = host, port, ssl, headers

    def __str__(self) -> str:
        return f"the Chroma server at {self._host}:{self._port}"

    def _open(self) -> Any:
        import chromadb

        try:
            return chromadb.HttpClient(self._host, self._port, ssl=self._ssl, headers=self._headers)
        except ValueError as error:  # what Chroma raises if nobody answers
            raise StoreUnavailableError(
                f"{self} is not reached ({error}): start it (`chroma run --path DIR --port {self._port}`), "
                "or check its address"
            ) from error
