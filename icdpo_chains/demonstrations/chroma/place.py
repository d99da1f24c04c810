"""Where a Chroma collection lives, and what can go wrong there: `Place`, and the simplest one, `Memory`.

A directory on disk and a server have files of their own, `directory.py` and `server.py`.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from icdpo_chains.concurrency import Owner
from icdpo_chains.errors import EmbedderMismatchError, ICDPOError, StoreError, StoreUnavailableError

__all__ = ["Memory", "Place", "own_runtime"]

T = TypeVar("T")

_SPACE = "free some space, and open the store again; what was acknowledged is kept"
_WRITABLE = "make it a writable directory, or copy it to one (Chroma writes even where it only reads)"
_INDEX = "look for free space, then open the store again for writing, which mends its index"
_DAMAGED = "it seems to be damaged: restore it from a copy, or import the demonstrations into a new one"
# What Chroma, its database and the operating system say, and what to do about it.
_REMEDIES = {
    "disk is full": _SPACE,
    "no space left": _SPACE,
    "file too large": _SPACE,
    "readonly": _WRITABLE,
    "read-only": _WRITABLE,
    "permission denied": _WRITABLE,
    "unable to open database": _WRITABLE,
    "malformed": _DAMAGED,
    "not a database": _DAMAGED,
    "expect it to be fetched": _DAMAGED,
    "disk i/o error": "check the disk, and open the store again; what was acknowledged is kept",
    "hnsw": _INDEX,
    "failed to apply logs": _INDEX,
}


class Place(ABC):
    """A Chroma client, opened when the collection is asked for.

    Attributes:
        path: the directory, where it is one.
        read_only: whether writing is refused.
        index_lost: whether the vector index was thrown away, so that everything has to be embedded again.
        retry_for: seconds for which a request is made again, if it failed for a reason that passes.
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
            StoreError: this is such a process.
        """
        self._owner.check(f"the store in {self}", StoreError)

    @property
    def max_batch(self) -> int:
        """The most items of one request."""
        return int(self.request(self._client.get_max_batch_size))

    def collection(self, name: str, metadata: Mapping[str, Any]) -> Any:
        """Opens the collection; makes it, with this metadata and cosine space, where there is none."""
        self._client = self._open()
        return self._client.get_or_create_collection(
            name,
            embedding_function=None,  # embeddings are ours: without this, Chroma would fetch a model
            configuration={"hnsw": {"space": "cosine"}},
            metadata=dict(metadata),
        )

    def request(self, call: Callable[..., T], **arguments: Any) -> T:
        """Makes a call of Chroma, and again while `passes`; all calls of a collection go through here."""
        import tenacity

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(self.passes),
            stop=tenacity.stop_after_delay(self.retry_for),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=2),
            reraise=True,
        )
        return retrying(call, **arguments)

    def passes(self, error: BaseException) -> bool:
        """Says whether the same request is going to succeed later."""
        return "error finding id" in str(error).lower()  # removed elsewhere while Chroma was reading it

    def current(self, collection: Any) -> tuple[Any, str]:
        """Returns the collection as it is now, and what tells of changes that are not in its metadata."""
        return collection, ""

    def rebuilt(self, collection: Any) -> None:
        """Records that the vector index is whole again."""
        self.index_lost = False

    @contextlib.contextmanager
    def writing(self, collection: Any) -> Iterator[None]:
        """What surrounds each change of the collection."""
        yield

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
    """Chroma's in-memory client. All of a process share it, so a collection's name must be its own."""

    def __str__(self) -> str:
        return "memory"

    def collection(self, name: str, metadata: Mapping[str, Any]) -> Any:
        """Makes the collection."""
        self._name = name
        return super().collection(name, metadata)

    def close(self) -> None:
        """Lets the collection go: the client, which others may use, would keep it."""
        if self._client is not None:
            self._client.delete_collection(self._name)
        super().close()

    def _open(self) -> Any:
        import chromadb

        own_runtime().check("Chroma", StoreError)
        return chromadb.EphemeralClient()


@cache
def own_runtime() -> Owner:
    """Returns the process in which Chroma's own runtime, of its threads, was started."""
    return Owner()
