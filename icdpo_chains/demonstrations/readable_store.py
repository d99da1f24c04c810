"""`ReadableStore`: the reading methods of a `DemonstrationStore`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from icdpo_chains.demonstrations.chroma.collection import Collection, Where
from icdpo_chains.demonstrations.chroma.reading import Reading
from icdpo_chains.demonstrations.chroma.records import embedding_text
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.embedding import Embedder, embed_checked
from icdpo_chains.demonstrations.files.write import write_demonstrations
from icdpo_chains.demonstrations.retriever import MAX_DEMONSTRATIONS
from icdpo_chains.foundation.process_local import ProcessLocal
from icdpo_chains.foundation.validation import check_count
from icdpo_chains.messages import Conversation, as_conversation

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.embedding import Vectors

__all__ = ["ReadableStore"]


class ReadableStore(ProcessLocal):
    """Reads demonstrations in a Chroma collection. `DemonstrationStore` opens and changes them.

    Attributes:
        embedder: embeds prompts and questions.
    """

    embedder: Embedder
    _collection: Collection
    _reading: Reading

    @property
    def path(self) -> Path | None:
        """The directory, or `None` for a store in memory or on a server."""
        return self._collection.place.path

    @property
    def fingerprint(self) -> str:
        """A string that changes with each change of the content, by any process."""
        return self._collection.fingerprint

    def get(self, ids: str | Sequence[str]) -> list[Demonstration]:
        """Returns the demonstrations with these ids, in this order; unknown ids are left out."""
        wanted = [ids] if isinstance(ids, str) else list(ids)
        found = {item.id: item for item in self._reading.demonstrations(wanted)}
        return [found[id_] for id_ in wanted if id_ in found]

    def search(
        self, query: Conversation, k: int = 10, *, where: Where | None = None
    ) -> list[tuple[Demonstration, float]]:
        """Returns the k demonstrations with the most similar prompts, and their cosine similarities.

        Raises:
            InvalidInputError: the query is blank or not valid Unicode.
            TypeError, ValueError: `k` is not a whole number from 1 to 10,000.
        """
        k = check_count(k, "k", MAX_DEMONSTRATIONS)  # before an embedder is loaded
        vector = self.embed([embedding_text(as_conversation(query))])[0]
        _ = self.fingerprint  # sees what others wrote
        similarity = dict(self.nearest(vector, k, where=where))
        return [(item, similarity[item.id]) for item in self._reading.demonstrations(similarity)]

    def nearest(
        self,
        vector: Vectors,
        k: int,
        *,
        ids: Sequence[str] | None = None,
        where: Where | None = None,
    ) -> list[tuple[str, float]]:
        """Returns the ids nearest to a vector and their cosine similarities, best first.

        Args:
            vector: float32 [dimension], of unit length.
            k: the number of ids.
            ids: search only these ids; unknown ids are skipped, and `where` is ignored.
            where: only demonstrations with matching metadata (Chroma's `where`).

        Raises:
            EmbedderMismatchError: the vector's dimension differs from the collection's.
        """
        if ids is None:
            pairs = self._collection.nearest(vector, k, where)
        else:
            pairs = self._collection.similarities(vector, ids)
        # Similarities of equal prompts differ in the last digits, depending on their row in a matrix.
        return sorted(pairs, key=lambda pair: (-round(pair[1], 6), pair[0]))[:k]

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embeds texts with the store's embedder.

        Raises:
            StoreError: the embedder returned invalid vectors.
        """
        return embed_checked(self.embedder, texts)

    def list(
        self, *, where: Where | None = None, limit: int | None = None, offset: int = 0
    ) -> list[Demonstration]:
        """Returns demonstrations, filtered by metadata (`where`, in Chroma's filter language).

        Raises:
            ValueError: `limit` or `offset` is below 0, or `where` is invalid.
        """
        ids = self._collection.ids(where=where, limit=limit, offset=offset)
        return list(self._reading.demonstrations(ids))

    def ids(self, *, where: Where | None = None) -> set[str]:
        """Returns the ids of all demonstrations, or of those with matching metadata."""
        return set(self._collection.ids(where=where))

    def prompts(self) -> Iterator[tuple[str, str]]:
        """Yields the id and the `prompt_text` of each demonstration."""
        return self._reading.prompts()

    def export(self, path: str | os.PathLike[str]) -> int:
        """Writes all demonstrations as JSON lines that import to an equal store; returns their number.

        The file is written atomically.

        Raises:
            OSError: the file can't be written.
            UnknownFormatError: the file's suffix is not that of JSON lines.
        """
        return write_demonstrations(path, self)

    def __len__(self) -> int:
        return int(self._collection.call("count"))

    def __iter__(self) -> Iterator[Demonstration]:
        # In the order of insertion. By their ids: pages by number would shift where one is removed.
        return self._reading.demonstrations(self._collection.ids())

    def __contains__(self, item: object) -> bool:
        id_ = item.id if isinstance(item, Demonstration) else item
        return isinstance(id_, str) and any(True for _ in self._collection.records([id_]))
