"""`Place`: the place of a Chroma collection and its errors; `Memory` is the simplest place.

Directories on disk and servers are in `local.py` and `http.py`.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from icdpo_chains.errors import EmbedderMismatchError, ICDPOError, StoreError, StoreUnavailableError
from icdpo_chains.foundation.concurrency import Owner

__all__ = ["Memory", "Place", "own_runtime"]

T = TypeVar("T")

_SPACE = "free some space, and open the store again; acknowledged changes are kept"
_WRITABLE = "make it a writable directory, or copy it to one (Chroma writes even when it only reads)"
_INDEX = "check the free space, then open the store again for writing, which repairs its index"
_DAMAGED = "it seems to be damaged: restore it from a copy, or import the demonstrations into a new one"
_KIND = "remove the directory or link that the error names, and open the store again"
# Messages of Chroma, its database and the operating system, and their remedies.
_REMEDIES = {
    "disk is full": _SPACE,
    "no space left": _SPACE,
    "file too large": _SPACE,
    "readonly": _WRITABLE,
    "read-only": _WRITABLE,
    "permission denied": _WRITABLE,
    "unable to open database": _WRITABLE,
    "is a directory": _KIND,
    "symbolic links": _KIND,
    "malformed": _DAMAGED,
    "not a database": _DAMAGED,
    "no such table": _DAMAGED,
    "no such column": _DAMAGED,
    "expect it to be fetched": _DAMAGED,
    "disk i/o error": "check the disk, and open the store again; acknowledged changes are kept",
    "hnsw": _INDEX,
    "failed to apply logs": _INDEX,
}


class Place(ABC):
    """A Chroma client, opened with its first collection.

    Attributes:
        path: the directory, if the place is one.
        read_only: refuse to write.
        index_lost: whether the vector index was discarded, so that everything must be embedded again.
        retry_for: how long a request is retried after a temporary failure, in seconds.
    """

    path: Path | None = None
    read_only = False
    index_lost = False
    retry_for = 5.0

    def __init__(self) -> None:
        self._client: Any = None
        self._owner = Owner()

    @property
    def is_forked(self) -> bool:
        """Whether this process was forked after the place was opened."""
        return self._owner.is_elsewhere

    def check_process(self) -> None:
        """Raises an error in a process that was forked after the place was opened.

        Raises:
            StoreError: this process was forked.
        """
        self._owner.check(f"the store in {self}", StoreError)

    @property
    def max_batch(self) -> int:
        """The maximum number of items of one request."""
        return int(self.request(self._client.get_max_batch_size))

    def collection(self, name: str, metadata: Mapping[str, Any]) -> Any:
        """Opens the collection; creates a missing one with this metadata and cosine space."""
        self._client = self._open()
        return self._client.get_or_create_collection(
            name,
            embedding_function=None,  # we embed ourselves: without this, Chroma would fetch a model
            configuration={"hnsw": {"space": "cosine"}},
            metadata=dict(metadata),
        )

    def request(self, call: Callable[..., T], **arguments: Any) -> T:
        """Calls Chroma, and retries while `passes`; all calls of a collection go through here."""
        import tenacity

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(self.passes),
            stop=tenacity.stop_after_delay(self.retry_for),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=2),
            reraise=True,
        )
        return retrying(call, **arguments)

    def passes(self, error: BaseException) -> bool:
        """Returns whether the same request may succeed later."""
        return (
            "error finding id" in str(error).lower()
        )  # another process removed it while Chroma was reading it

    def check_exists(self) -> None:  # noqa: B027  # only a directory can be removed meanwhile
        """Checks that the files of a read-only place are still there."""

    def current(self, collection: Any) -> tuple[Any, str]:
        """Returns the current collection, and a value that changes with changes missing in its metadata."""
        return collection, ""

    def rebuilt(self, collection: Any) -> None:
        """Records that the vector index is complete again."""
        self.index_lost = False

    @contextlib.contextmanager
    def writing(self, collection: Any) -> Iterator[None]:
        """The context of each change of the collection."""
        yield

    def close(self) -> None:
        """Releases the client; may be called twice."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turns exceptions of Chroma, its database and the network into errors that name the remedy."""
        try:
            yield
        except (ICDPOError, TypeError, ValueError):
            raise
        except Exception as error:
            raise self._explained(error) from error
        except BaseException as error:
            # Chroma's Rust code panics on a damaged database; the panic is not an `Exception`.
            if type(error).__name__ != "PanicException":
                raise
            raise self._explained(error) from error

    @abstractmethod
    def _open(self) -> Any:
        """Returns Chroma's client."""

    def _explained(self, error: BaseException) -> ICDPOError:
        text = str(error).lower()
        if "expecting embedding with dimension" in text:
            return EmbedderMismatchError(
                f"the embedder does not fit the collection in {self} ({error}): use the one that filled it"
            )
        for sign, remedy in _REMEDIES.items():
            if sign in text:
                return StoreUnavailableError(f"the store in {self} can't be used ({error}): {remedy}")
        if isinstance(error, OSError) or self._client is None:
            return StoreUnavailableError(f"the store in {self} can't be opened ({error}): {_WRITABLE}")
        return StoreError(f"Chroma refused a request to the store in {self}: {error}")


class Memory(Place):
    """Chroma's in-memory client. The whole process shares it, so each collection needs a unique name."""

    def __str__(self) -> str:
        return "memory"

    def collection(self, name: str, metadata: Mapping[str, Any]) -> Any:
        """Makes the collection."""
        self._name = name
        return super().collection(name, metadata)

    def close(self) -> None:
        """Deletes the collection, which the shared client would keep."""
        if self._client is not None:
            self._client.delete_collection(self._name)
        super().close()

    def _open(self) -> Any:
        import chromadb

        own_runtime().check("Chroma", StoreError)
        return chromadb.EphemeralClient()


@cache
def own_runtime() -> Owner:
    """Returns the process that started Chroma's own runtime with its threads."""
    return Owner()
