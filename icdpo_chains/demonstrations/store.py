"""`DemonstrationStore`: demonstrations in a Chroma collection, on disk, in memory or on a server."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from icdpo_chains.demonstrations.chroma.adding import AddReport, add_batch, batches
from icdpo_chains.demonstrations.chroma.collection import Collection, Where
from icdpo_chains.demonstrations.chroma.directory import DamagedIndexError
from icdpo_chains.demonstrations.chroma.http import Server
from icdpo_chains.demonstrations.chroma.local import Directory, ReadOnlyDirectory
from icdpo_chains.demonstrations.chroma.place import Memory, Place
from icdpo_chains.demonstrations.chroma.reading import Reading
from icdpo_chains.demonstrations.chroma.records import RESERVED, embedding_text, to_record
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.embedding import Embedder, SentenceTransformerEmbedder
from icdpo_chains.demonstrations.readable_store import ReadableStore
from icdpo_chains.errors import EmbedderMismatchError, StoreError

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.embedding import Vectors

__all__ = ["AddReport", "DemonstrationStore", "Where"]

_EMBEDDER = f"{RESERVED}embedder"


class DemonstrationStore(ReadableStore):
    """A Chroma collection of demonstrations and their embeddings. Thread-safe.

    One process at a time may write to a directory; any number may read it, and they see its changes. For
    several writers, run a Chroma server and use `connect`.

    Args:
        path: a directory; created if it does not exist.
        embedder: embeds prompts; by default all-MiniLM-L6-v2. The collection records its embedder.
        collection: the name of the Chroma collection.
        read_only: open without changes; any number of stores may be read-only next to one writer. The
            half-written index of a killed writer is repaired first.

    Raises:
        StoreLockedError: another process, or another store of this process, has the directory open for
            writing.
        EmbedderMismatchError: the collection was filled with a different embedder.
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
        directory, embedder = Path(path), embedder or SentenceTransformerEmbedder()
        if not read_only:
            self._open(Directory(directory), embedder, collection)
            return
        reader = ReadOnlyDirectory(directory)
        if reader.damaged(collection):
            # Opening for writing repairs it.
            DemonstrationStore(directory, embedder=embedder, collection=collection).close()
        self._open(reader, embedder, collection)

    @classmethod
    def ephemeral(cls, *, embedder: Embedder | None = None) -> DemonstrationStore:
        """Returns an empty, unshared store in memory."""
        store = cls.__new__(cls)
        store._open(Memory(), embedder, f"demonstrations-{secrets.token_hex(8)}")
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
        tenant: str | None = None,
        database: str | None = None,
        token: str | None = None,
        retry_for: float = 30.0,
    ) -> DemonstrationStore:
        """Returns the store on a Chroma server (`chroma run`), to which many processes may write.

        Args:
            host: the server's name or address.
            port: the server's port.
            ssl: use HTTPS.
            headers: sent with each request.
            embedder: as for a directory; this process embeds texts, not the server.
            collection: the name of the Chroma collection.
            tenant: an existing tenant; by default the server's default tenant.
            database: an existing database of the tenant; by default the default database.
            token: sent as `Authorization: Bearer`, for a proxy that checks it.
            retry_for: how long reads and writes are retried while the server is unavailable, in seconds. The
                first connection is tried once.

        Raises:
            StoreUnavailableError: the server can't be reached, or refuses the token.
            StoreError: there is no such tenant or database.
            EmbedderMismatchError: the collection was filled with a different embedder.
            ValueError: the token or `retry_for` is invalid.
        """
        server = Server(
            host,
            port,
            ssl=ssl,
            headers=headers,
            tenant=tenant,
            database=database,
            token=token,
            retry_for=retry_for,
        )
        store = cls.__new__(cls)
        store._open(server, embedder, collection)
        return store

    def _open(self, place: Place, embedder: Embedder | None, collection: str) -> None:
        self.embedder = embedder or SentenceTransformerEmbedder()
        self._collection = Collection(place, collection, {_EMBEDDER: self.embedder.name})
        self._reading = Reading(self._collection)
        try:
            recorded = self._collection.metadata.get(_EMBEDDER)
            if recorded is None:
                raise StoreError(
                    f"the collection {collection!r} in {place} was not made by icdpo-chains: use another one"
                )
            if recorded != self.embedder.name:
                raise EmbedderMismatchError(
                    f"the collection {collection!r} in {place} was filled with the embedder {recorded!r}, "
                    f"not with {self.embedder.name!r}: open it with {recorded!r}, or export it and "
                    "import it into a new one"
                )
            if place.index_lost:
                self._embed_again()
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def writable(self) -> Iterator[DemonstrationStore]:
        """Yields this store; for a read-only store, its directory opened for writing meanwhile.

        Raises:
            StoreLockedError: another process has the directory open for writing.
            StoreUnavailableError: the directory was removed meanwhile; a new one would be empty.
        """
        if not self._collection.place.read_only or self.path is None:
            yield self
            return
        self._collection.place.check_exists()
        with DemonstrationStore(self.path, embedder=self.embedder, collection=self._collection.name) as store:
            yield store

    @property
    def fingerprint(self) -> str:
        """A string that changes with each change of the content, by any process."""
        try:
            return self._collection.fingerprint
        except DamagedIndexError:
            # The store is read-only and a writer was killed meanwhile: opening for writing repairs the index.
            with self.writable():
                pass
            return self._collection.fingerprint

    def add(
        self,
        demonstrations: Iterable[Demonstration],
        *,
        progress: bool = False,
        on_batch: Callable[[AddReport], None] | None = None,
    ) -> AddReport:
        """Adds demonstrations; known ones (by their `id`) are not added twice.

        Demonstrations with one answer are combined with those of the same prompt: an up and a down become a
        pair, and the majority of contradictory votes on an answer decides (see
        `icdpo_chains.demonstrations.pairing`).

        The iterable is consumed lazily and written in batches. Written batches are kept after any later
        error; if reading fails, the demonstrations read so far are written.

        Args:
            demonstrations: any iterable, such as `read_demonstrations(path)`.
            progress: show a progress bar on stderr.
            on_batch: called with the report so far after each written batch.

        Returns:
            The numbers of added, updated (changed metadata) and unchanged demonstrations.

        Raises:
            StoreError: the store is read-only, full, or can't be reached.
            TypeError: an item is not a demonstration.
        """
        from tqdm import tqdm

        self._check_writable()
        report = AddReport()
        items = tqdm(demonstrations, unit=" demonstrations", disable=not progress, leave=False)
        for batch in batches(items, self._collection.max_batch):
            report += add_batch(self._collection, batch, self._vectors)
            if on_batch is not None:
                on_batch(report)
        return report

    def put(self, demonstrations: Iterable[Demonstration], *, instead_of: Iterable[str] = ()) -> None:
        """Writes demonstrations exactly as they are, without combining thumbs; then removes `instead_of`.

        Raises:
            StoreError: the store is read-only or can't be written.
        """
        self._check_writable()
        with self._collection.lock:
            gone = set(instead_of)
            for items in self._collection.chunks(demonstrations, 128):
                with self._collection.changing() as change:
                    self._write(change, items)
                gone -= {item.id for item in items}
            self.remove(list(gone))

    def remove(self, ids: str | Sequence[str]) -> int:
        """Removes demonstrations; returns the number of removed ones. Unknown ids are ignored.

        Raises:
            StoreError: the store is read-only or can't be written.
        """
        self._check_writable()
        wanted = dict.fromkeys([ids] if isinstance(ids, str) else ids)
        removed = 0
        with self._collection.lock:
            for chunk in self._collection.chunks(wanted):
                known = self._collection.call("get", ids=chunk, include=[])["ids"]
                if known:
                    with self._collection.changing() as change:
                        change("delete", ids=known)
                    removed += len(known)
        return removed

    def close(self) -> None:
        """Releases the directory; the store can't be used afterwards."""
        self._collection.close()

    def __enter__(self) -> DemonstrationStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<DemonstrationStore {self._collection.name!r} in {self._collection.place}>"

    def take_out_damaged(self, file: str | os.PathLike[str]) -> int:
        """Removes damaged records, and appends their contents to a file of JSON lines.

        Returns:
            The number of demonstrations.

        Raises:
            OSError: the file can't be written; nothing is removed then.
            StoreError: the store is read-only or can't be written.
        """
        self._check_writable()
        damaged = self._reading.damaged()
        if damaged:
            with Path(file).open("a", encoding="ascii") as lines:
                for id_, (record, reason) in damaged.items():
                    lines.write(json.dumps({"id": id_, "reason": reason, "record": record}) + "\n")
        return self.remove(list(damaged))

    def _embed_again(self) -> None:
        """Rebuilds the discarded vector index of a directory."""
        with self._collection.changing() as change:
            for demonstrations in self._collection.chunks(self, 128):
                self._write(change, demonstrations)
        self._collection.rebuilt()

    def _write(self, change: Callable[..., None], items: Sequence[Demonstration]) -> None:
        ids = [item.id for item in items]
        known = dict(self._collection.records(ids))
        # Writing a known record merges metadata: removed names must be set to None.
        records = [{**dict.fromkeys(known.get(item.id, ())), **to_record(item)} for item in items]
        change("upsert", ids=ids, embeddings=self._vectors(items), metadatas=records)

    def _vectors(self, items: Sequence[Demonstration]) -> Vectors:
        return self.embed([embedding_text(item.messages) for item in items])

    def _check_writable(self) -> None:
        place = self._collection.place
        if place.read_only:
            raise StoreError(f"the store in {place} is open read-only: open it without read_only=True")
