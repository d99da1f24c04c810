"""`Collection`: a Chroma collection with requests of limited size, and errors that name the remedy."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from icdpo_chains.demonstrations.chroma.place import Place
from icdpo_chains.demonstrations.chroma.records import REVISION
from icdpo_chains.errors import EmbedderMismatchError, StoreError

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.embedding import Vectors

__all__ = ["Collection", "Record", "Where"]

T = TypeVar("T")
Where = Mapping[str, Any]
Record = dict[str, Any]
"""Chroma's metadata of one item; see `records.py`."""


class Collection:
    """A Chroma collection. Thread-safe.

    Args:
        place: the place of the collection.
        name: the collection's name.
        metadata: the metadata of a new collection.

    Attributes:
        metadata: the metadata from the collection's creation.
        lock: held during changes of the collection.
    """

    def __init__(self, place: Place, name: str, metadata: Mapping[str, Any]) -> None:
        self.place = place
        self.name = name
        self.lock = threading.RLock()
        self._closed = False
        try:
            with place.errors():
                self._chroma = place.collection(name, metadata)
        except BaseException:
            place.close()
            raise
        self.metadata: dict[str, Any] = dict(self._chroma.metadata or {})

    @property
    def fingerprint(self) -> str:
        """A string that changes with each change of the content, by any process.

        Reading it also lets searches see the changes of other processes.
        """
        self.place.check_process()
        with self._guard(), self._errors():
            self._chroma, besides = self.place.current(self._chroma)
            return f"{self._chroma.metadata.get(REVISION, '')}-{besides}"

    @property
    def max_batch(self) -> int:
        """The maximum number of items of one request."""
        self.place.check_process()
        with self._errors():
            return self.place.max_batch

    def call(self, request: str, **arguments: Any) -> Any:
        """Calls a method of the Chroma collection that does not change it."""
        self.place.check_process()
        with self._guard(), self._errors():
            return self._request(request, **arguments)

    @contextlib.contextmanager
    def changing(self) -> Iterator[Callable[..., Any]]:
        """Yields `call` for methods that change the collection; records the change for other processes."""
        self.place.check_process()
        with self.lock, self._errors(), self.place.writing(self._chroma):
            try:
                yield self._request
            except BaseException:
                with contextlib.suppress(Exception):  # a part of the change may be written: readers must look
                    self._new_revision()
                raise
            self._new_revision()

    def rebuilt(self) -> None:
        """Records that a lost vector index is complete again."""
        with self.lock, self._errors():
            self.place.rebuilt(self._chroma)

    def ids(self, *, where: Where | None = None, limit: int | None = None, offset: int = 0) -> list[str]:
        """Returns the ids of the items with matching metadata, in the order of insertion."""
        if offset < 0 or (limit is not None and limit < 0):
            raise ValueError(f"limit is {limit} and offset {offset}: both must be 0 or more")
        ids: list[str] = self.call("get", where=_plain(where), limit=limit, offset=offset, include=[])["ids"]
        return ids

    def records(self, ids: Iterable[str]) -> Iterator[tuple[str, Record]]:
        """Yields the records with these ids, in this order; skips unknown ids."""
        for chunk in self.chunks(dict.fromkeys(ids)):
            rows = self.call("get", ids=chunk, include=["metadatas"])
            found = dict(zip(rows["ids"], rows["metadatas"], strict=True))
            yield from ((id_, found[id_]) for id_ in chunk if id_ in found)

    def nearest(self, vector: Vectors, k: int, where: Where | None) -> list[tuple[str, float]]:
        """Returns the k ids nearest to a vector, with their cosine similarities."""
        rows = self.call(
            "query", query_embeddings=[vector], n_results=k, where=_plain(where), include=["distances"]
        )
        return [(id_, 1 - float(far)) for id_, far in zip(rows["ids"][0], rows["distances"][0], strict=True)]

    def similarities(self, vector: Vectors, ids: Iterable[str]) -> list[tuple[str, float]]:
        """Returns the cosine similarity of each known id.

        Chroma's search among given ids walks over the whole index: 70 ms for 100,000 items.
        """
        pairs: list[tuple[str, float]] = []
        for chunk in self.chunks(dict.fromkeys(ids)):
            rows = self.call("get", ids=chunk, include=["embeddings"])
            if not rows["ids"]:
                continue
            vectors = np.asarray(rows["embeddings"], dtype=np.float32)
            if vectors.shape[1] != len(vector):
                raise EmbedderMismatchError(
                    f"the collection in {self.place} has vectors of dimension {vectors.shape[1]}, and the "
                    f"embedder returned {len(vector)}: use the embedder that filled it"
                )
            norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(vector)
            near = vectors @ vector / np.maximum(norms, np.finfo(np.float32).tiny)
            pairs += zip(rows["ids"], map(float, near), strict=True)
        return pairs

    def chunks(self, items: Iterable[T], most: int | None = None) -> Iterator[list[T]]:
        """Cuts items into batches of at most the size of one request."""
        size = min(self.max_batch, most or self.max_batch)
        rest = iter(items)
        while chunk := list(itertools.islice(rest, size)):
            yield chunk

    def close(self) -> None:
        """Releases its resources; may be called twice."""
        if self.place.is_forked:  # everything belongs to the other process
            return
        with self.lock:
            self._closed = True
            self.place.close()

    def _new_revision(self) -> None:
        self._request("modify", metadata={**self._chroma.metadata, REVISION: secrets.token_hex(8)})

    def _request(self, request: str, **arguments: Any) -> Any:
        return self.place.request(getattr(self._chroma, request), **arguments)

    def _guard(self) -> AbstractContextManager[object]:
        # Another thread may be reopening the directory: one thread at a time.
        return self.lock if self.place.read_only else contextlib.nullcontext()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        if self._closed:
            raise StoreError(f"the store in {self.place} is closed: open it again")
        with self.place.errors():
            yield


def _plain(where: Where | None) -> dict[str, Any] | None:
    return dict(where) if where else None
