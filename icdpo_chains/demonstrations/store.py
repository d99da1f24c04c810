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
from icdpo_chains.demonstrations.stored import StoredDemonstrations
from icdpo_chains.errors import EmbedderMismatchError, StoreError

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.embedding import Vectors

__all__ = ["AddReport", "DemonstrationStore", "Where"]

_EMBEDDER = f"{RESERVED}embedder"


class DemonstrationStore(StoredDemonstrations):
    """A Chroma collection of demonstrations with embeddings of our own. Thread-safe.

    One process may write to a directory at a time; any number may read it, and they see what it writes. Where
    several have to write, run a Chroma server and use `connect`.

    Args:
        path: a directory; made where it does not exist.
        embedder: embeds prompts; by default all-MiniLM-L6-v2. The collection records which one filled it.
        collection: the name of the Chroma collection.
        read_only: change nothing; any number of stores may be open so, beside the one that writes. What a
            writer that was killed has left half-written is mended first.

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
        directory, embedder = Path(path), embedder or SentenceTransformerEmbedder()
        if not read_only:
            self._open(Directory(directory), embedder, collection)
            return
        reader = ReadOnlyDirectory(directory)
        if reader.damaged(collection):
            # Opening for writing mends it.
            DemonstrationStore(directory, embedder=embedder, collection=collection).close()
        self._open(reader, embedder, collection)

    @classmethod
    def ephemeral(cls, *, embedder: Embedder | None = None) -> DemonstrationStore:
        """Returns an empty store in memory, which nothing else shares."""
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
        """Returns the store on a Chroma server (`chroma run`), which many processes may write to.

        Args:
            host: the server's name or address.
            port: its port.
            ssl: whether it speaks HTTPS.
            headers: sent with each request.
            embedder: as for a directory; texts are embedded here, not on the server.
            collection: the name of the Chroma collection.
            tenant: a tenant that the server has; its default one where not given.
            database: a database of that tenant, likewise.
            token: sent as `Authorization: Bearer`, for what checks it before the server.
            retry_for: once the server was reached, seconds for which reads and writes are tried again while
                it is away. Connecting itself is tried once.

        Raises:
            StoreUnavailableError: the server is not reached, or refuses the token.
            StoreError: there is no such tenant or database.
            EmbedderMismatchError: the collection was filled with another embedder.
            ValueError: a token or `retry_for` that can't be used.
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
                    f"the collection {collection!r} in {place} was not made by icdpo-chains: name another one"
                )
            if recorded != self.embedder.name:
                raise EmbedderMismatchError(
                    f"the collection {collection!r} in {place} was filled with the embedder {recorded!r}, "
                    f"and {self.embedder.name!r} was given: open it with {recorded!r}, or export it and "
                    "import it into a new one"
                )
            if place.index_lost:
                self._embed_again()
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def writable(self) -> Iterator[DemonstrationStore]:
        """Gives this store, or, where it is read-only, its directory opened for writing meanwhile.

        Raises:
            StoreLockedError: somebody else has the directory open for writing.
        """
        if not self._collection.place.read_only or self.path is None:
            yield self
            return
        name = self._collection.name
        with DemonstrationStore(self.path, embedder=self.embedder, collection=name) as store:
            yield store

    @property
    def fingerprint(self) -> str:
        """A string that changes whenever the content does, whoever changes it."""
        try:
            return self._collection.fingerprint
        except DamagedIndexError:
            # Read-only, and a writer was killed at work meanwhile: opening for writing mends what it left.
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
        """Adds demonstrations; those that are known (by their `id`) are not added twice.

        Demonstrations with one answer are put to those of the same prompt: an up and a down become a pair,
        contradictory votes on an answer are counted, and the majority decides (see
        `icdpo_chains.demonstrations.pairing`).

        The iterable is consumed lazily and written in batches. A batch that was written stays, whatever
        happens after it; where reading fails, what was read before is written.

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
        items = tqdm(demonstrations, unit=" demonstrations", disable=not progress, leave=False)
        for batch in batches(items, self._collection.max_batch):
            report += add_batch(self._collection, batch, self._vectors)
            if on_batch is not None:
                on_batch(report)
        return report

    def remove(self, ids: str | Sequence[str]) -> int:
        """Removes demonstrations; returns how many there were. Unknown ids are ignored.

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
        """Releases the directory; the store can't be used any more."""
        self._collection.close()

    def __enter__(self) -> DemonstrationStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<DemonstrationStore {self._collection.name!r} in {self._collection.place}>"

    def take_out_damaged(self, file: str | os.PathLike[str]) -> int:
        """Removes the records that are damaged, and appends what they hold to a file of JSON lines.

        Returns:
            How many there were.

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
        """Fills the empty vector index of a directory whose writer was killed at the wrong moment."""
        with self._collection.changing() as change:
            for demonstrations in self._collection.chunks(self, 128):
                change(
                    "upsert",
                    ids=[item.id for item in demonstrations],
                    embeddings=self._vectors(demonstrations),
                    metadatas=[to_record(item) for item in demonstrations],
                )
        self._collection.rebuilt()

    def _vectors(self, items: Sequence[Demonstration]) -> Vectors:
        return self.embed([embedding_text(item.messages) for item in items])

    def _check_writable(self) -> None:
        place = self._collection.place
        if place.read_only:
            raise StoreError(f"the store in {place} is open read-only: open it without read_only=True")
