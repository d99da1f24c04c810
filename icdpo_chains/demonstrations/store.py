"""`DemonstrationStore`: demonstrations in a Chroma collection, on disk, in memory or on a server."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import secrets
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from icdpo_chains.demonstrations import connection
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.embedding import Embedder, SentenceTransformerEmbedder, embed_checked
from icdpo_chains.demonstrations.records import RESERVED, embedding_text, from_record, to_record
from icdpo_chains.errors import EmbedderMismatchError, StoreError

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.embedding import Vectors

__all__ = ["AddReport", "DemonstrationStore"]

T = TypeVar("T")
Where = Mapping[str, Any]

_EMBEDDER, _DIMENSION, _REVISION = f"{RESERVED}embedder", f"{RESERVED}dimension", f"{RESERVED}revision"
# What was acknowledged survives a crash: so an import is written in small steps.
_BATCH = 128


@dataclass(frozen=True)
class AddReport:
    """What an import did.

    Attributes:
        added: demonstrations that are new.
        updated: known ones whose metadata changed.
        unchanged: known ones, or doubles within the import.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0

    @property
    def total(self) -> int:
        """How many were given."""
        return self.added + self.updated + self.unchanged

    def __add__(self, other: AddReport) -> AddReport:
        return AddReport(
            self.added + other.added, self.updated + other.updated, self.unchanged + other.unchanged
        )


class DemonstrationStore:
    """A Chroma collection of demonstrations with embeddings of our own. Thread-safe.

    One process may write to a directory at a time; any number may read it, and they see what it writes. Where
    several have to write, run a Chroma server and use `connect`.

    Args:
        path: a directory; made where it does not exist.
        embedder: embeds prompts; by default all-MiniLM-L6-v2. The collection records which one filled it.
        collection: the name of the Chroma collection.
        read_only: take no lock and never write.

    Raises:
        StoreLockedError: another process, or another store of this one, has the directory open for writing.
        EmbedderMismatchError: the collection was filled with another embedder.
        StoreUnavailableError: the directory can't be read or written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        embedder: Embedder | None = None,
        collection: str = "demonstrations",
        read_only: bool = False,
    ) -> None:
        self._open(connection.Directory(Path(path), read_only=read_only), embedder, collection)

    @classmethod
    def ephemeral(cls, *, embedder: Embedder | None = None) -> DemonstrationStore:
        """Returns an empty store in memory, which nothing else shares."""
        store = cls.__new__(cls)
        store._open(connection.Memory(), embedder, f"demonstrations-{secrets.token_hex(8)}")
        return store

    @classmethod
    def connect(
        cls,
        host: str = "127.0.0.1",
        port: int = 8000,
        *,
        ssl: bool = False,
        headers: Mapping[str, str] | None = None,
        embedder: Embedder | None = None,
        collection: str = "demonstrations",
    ) -> DemonstrationStore:
        """Returns the store on a Chroma server (`chroma run`), which many processes may write to.

        Args:
            host: the server's name or address.
            port: its port.
            ssl: whether it speaks HTTPS.
            headers: sent with each request, such as credentials.
            embedder: as for a directory; texts are embedded here, not on the server.
            collection: the name of the Chroma collection.

        Raises:
            StoreUnavailableError: the server is not reached.
            EmbedderMismatchError: the collection was filled with another embedder.
        """
        store = cls.__new__(cls)
        store._open(connection.Server(host, port, ssl=ssl, headers=dict(headers or {})), embedder, collection)
        return store

    def _open(self, place: connection.Place, embedder: Embedder | None, collection: str) -> None:
        self.embedder = embedder or SentenceTransformerEmbedder()
        self._place = place
        self._name = collection
        self._write_lock = threading.RLock()
        try:
            with place.errors():
                self._collection = place.collection(collection, {_EMBEDDER: self.embedder.name})
            recorded = (self._collection.metadata or {}).get(_EMBEDDER)
            if recorded is None:
                raise StoreError(
                    f"the collection {collection!r} in {place} was not made by icdpo-chains: name another one"
                )
            if recorded != self.embedder.name:
                raise EmbedderMismatchError(
                    f"the collection {collection!r} in {place} was filled with the embedder {recorded!r}, "
                    f"and {self.embedder.name!r} was given: open it with {recorded!r}, or export it and "
                    "import it into a new one"
                )
            self._count = (
                int(self._collection.count()) if place.shared else 0
            )  # as last seen, of others' work
        except BaseException:
            place.close()
            raise

    @property
    def path(self) -> Path | None:
        """The directory, or `None` for a store in memory or on a server."""
        return self._place.path

    @property
    def fingerprint(self) -> str:
        """A string that changes whenever the content does, whoever changes it."""
        return self._refreshed()

    def add(
        self,
        demonstrations: Iterable[Demonstration],
        *,
        progress: bool = False,
        on_batch: Callable[[AddReport], None] | None = None,
    ) -> AddReport:
        """Adds demonstrations; those that are known (by their `id`) are not added twice.

        The iterable is consumed lazily and written in batches. A batch that was written stays, whatever
        happens after it.

        Args:
            demonstrations: any iterable, such as `read_demonstrations(path)`.
            progress: show a progress bar on stderr.
            on_batch: called with the report so far after each batch that was written.

        Returns:
            How many were added, updated (other metadata) and unchanged.

        Raises:
            StoreError: the store is read-only, full, or can't be reached.
            TypeError: an item is no demonstration.
        """
        from tqdm import tqdm

        self._check_writable()
        report = AddReport()
        size = min(_BATCH, self._place.max_batch)
        items = iter(tqdm(demonstrations, unit=" demonstrations", disable=not progress, leave=False))
        while batch := list(itertools.islice(items, size)):
            with self._write_lock:
                done = self._add_batch(batch)
            report += done
            if on_batch is not None:
                on_batch(report)
        return report

    def get(self, ids: str | Sequence[str]) -> list[Demonstration]:
        """Returns the demonstrations with these ids, in this order; unknown ids are left out."""
        wanted = [ids] if isinstance(ids, str) else list(ids)
        found: dict[str, Demonstration] = {}
        for chunk in _chunks(wanted, self._place.max_batch):
            rows = self._call("get", ids=chunk, include=["metadatas"])
            found.update(zip(rows["ids"], map(from_record, rows["metadatas"]), strict=True))
        return [found[id_] for id_ in wanted if id_ in found]

    def remove(self, ids: str | Sequence[str]) -> int:
        """Removes demonstrations; returns how many there were. Unknown ids are ignored.

        Raises:
            StoreError: the store is read-only or can't be written.
        """
        self._check_writable()
        wanted = list(dict.fromkeys([ids] if isinstance(ids, str) else ids))
        removed = 0
        with self._write_lock:
            for chunk in _chunks(wanted, self._place.max_batch):
                known = self._call("get", ids=chunk, include=[])["ids"]
                if known:
                    self._call("delete", ids=known)
                    removed += len(known)
                    self._bump()
        return removed

    def search(
        self, query: str, k: int = 10, *, where: Where | None = None
    ) -> list[tuple[Demonstration, float]]:
        """Returns the k demonstrations whose prompts are most similar, with their cosine similarity."""
        found = self.nearest(self.embed([query])[0], k, where=where)
        demonstrations = self.get([id_ for id_, _ in found])
        return list(zip(demonstrations, (similarity for _, similarity in found), strict=True))

    def nearest(
        self,
        vector: Vectors,
        k: int,
        *,
        ids: Sequence[str] | None = None,
        where: Where | None = None,
    ) -> list[tuple[str, float]]:
        """Returns the ids nearest to a vector with their cosine similarity, best first.

        Args:
            vector: float32 [dimension], of unit length.
            k: how many.
            ids: only among these.
            where: only those whose metadata match (Chroma's `where`).
        """
        k = min(k, len(self) if ids is None else len(ids))
        if k < 1:
            return []
        rows = self._call(
            "query",
            query_embeddings=[vector],
            n_results=k,
            ids=None if ids is None else list(ids),
            where=dict(where) if where else None,
            include=["distances"],
        )
        pairs = [
            (id_, 1.0 - float(far)) for id_, far in zip(rows["ids"][0], rows["distances"][0], strict=True)
        ]
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embeds texts with the store's embedder.

        Raises:
            EmbedderMismatchError: the vectors are not of the dimension that the collection has.
        """
        vectors = embed_checked(self.embedder, texts)
        recorded = (self._collection.metadata or {}).get(_DIMENSION)
        if recorded is not None and recorded != vectors.shape[1]:
            raise EmbedderMismatchError(
                f"the collection holds vectors of dimension {recorded}, and the embedder "
                f"{self.embedder.name!r} returned {vectors.shape[1]}: use the embedder that filled it"
            )
        return vectors

    def list(
        self, *, where: Where | None = None, limit: int | None = None, offset: int = 0
    ) -> list[Demonstration]:
        """Returns demonstrations, those only whose metadata match `where` (Chroma's filter language)."""
        rows = self._call(
            "get", where=dict(where) if where else None, limit=limit, offset=offset, include=["metadatas"]
        )
        return [from_record(record) for record in rows["metadatas"]]

    def ids(self, *, where: Where | None = None) -> set[str]:
        """Returns the ids of all demonstrations, or of those whose metadata match."""
        return set(self._call("get", where=dict(where) if where else None, include=[])["ids"])

    def export(self, path: str | os.PathLike[str]) -> int:
        """Writes all demonstrations as JSON lines that import back to the same store; returns how many.

        The file appears whole or not at all.

        Raises:
            OSError: the file can't be written.
        """
        target = Path(path)
        count = 0
        with contextlib.ExitStack() as undo:
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            undo.callback(Path(name).unlink, missing_ok=True)
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                for count, demonstration in enumerate(self, start=1):  # noqa: B007
                    file.write(json.dumps(demonstration.to_dict(), ensure_ascii=True) + "\n")
            os.replace(name, target)
        return count

    def __len__(self) -> int:
        return int(self._call("count"))

    def __iter__(self) -> Iterator[Demonstration]:
        step = self._place.max_batch
        for offset in itertools.count(0, step):
            page = self.list(limit=step, offset=offset)
            yield from page
            if len(page) < step:
                return

    def __contains__(self, item: object) -> bool:
        id_ = item.id if isinstance(item, Demonstration) else item
        return isinstance(id_, str) and bool(self.get(id_))

    def close(self) -> None:
        """Releases the directory; the store can't be used any more."""
        self._place.close()

    def __enter__(self) -> DemonstrationStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<DemonstrationStore {self._name!r} in {self._place}>"

    def _add_batch(self, batch: Collection[Demonstration]) -> AddReport:
        for item in batch:
            if not isinstance(item, Demonstration):
                raise TypeError(f"a store holds Demonstration objects, not {type(item).__name__}")
        unique = {item.id: item for item in batch}
        rows = self._call("get", ids=list(unique), include=["metadatas"])
        known = dict(zip(rows["ids"], rows["metadatas"], strict=True))
        new = [item for id_, item in unique.items() if id_ not in known]
        changed = [
            item
            for id_, item in unique.items()
            if id_ in known and from_record(known[id_]).metadata != item.metadata
        ]
        if new:
            vectors = self.embed([embedding_text(item.messages) for item in new])
            self._call(
                "upsert",
                ids=[item.id for item in new],
                embeddings=vectors,
                metadatas=[to_record(item) for item in new],
            )
        if changed:
            # An update merges metadata: names that are gone have to be named, as None.
            gone = [dict.fromkeys(known[item.id]) for item in changed]
            self._call(
                "update",
                ids=[item.id for item in changed],
                metadatas=[{**old, **to_record(item)} for old, item in zip(gone, changed, strict=True)],
            )
        if new or changed:
            self._bump(vectors.shape[1] if new else None)
        return AddReport(len(new), len(changed), len(batch) - len(new) - len(changed))

    def _bump(self, dimension: int | None = None) -> None:
        """Records that the content changed, where other processes and servers' clients can see it."""
        metadata = dict(self._collection.metadata or {})
        metadata[_REVISION] = secrets.token_hex(8)
        if dimension is not None:
            metadata.setdefault(_DIMENSION, dimension)
        self._call("modify", metadata=metadata)

    def _refreshed(self) -> str:
        """Looks at the collection as it is now, and makes sure that searches see that too."""
        if self._place.shared:
            with self._write_lock, self._place.errors():
                self._collection = self._place.reopened(self._collection, self._count)
                self._count = self._collection.count()
        return self._stamp()

    def _stamp(self) -> str:
        # The count as well: a writer that is killed may have written, and not recorded it.
        return f"{(self._collection.metadata or {}).get(_REVISION, '')}-{len(self)}"

    def _check_writable(self) -> None:
        if self._place.read_only:
            raise StoreError(f"the store in {self._place} is open read-only: open it without read_only=True")

    def _call(self, request: str, **arguments: Any) -> Any:
        # Reopening closes the client that another thread may be using: there, one at a time.
        guard = self._write_lock if self._place.read_only else contextlib.nullcontext()
        with guard, self._place.errors():
            return getattr(self._collection, request)(**arguments)


def _chunks(items: Sequence[T], size: int) -> Iterator[list[T]]:
    for begin in range(0, len(items), size):
        yield list(items[begin : begin + size])
