"""How an import goes in: `AddReport`, what it did, and the batches it is written in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from icdpo_chains.demonstrations.chroma.records import same_metadata, to_record
from icdpo_chains.demonstrations.demonstration import Demonstration

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.chroma.collection import Collection
    from icdpo_chains.demonstrations.embedding import Vectors

__all__ = ["AddReport", "add_batch", "batches"]

# What was acknowledged survives a crash: so an import is written in small steps. And a server refuses
# requests above 40 MB.
_MOST, _MOST_CHARACTERS = 128, 4_000_000


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


def batches(demonstrations: Iterable[Demonstration], limit: int) -> Iterator[list[Demonstration]]:
    """Cuts an import into batches of at most `limit`.

    Where reading fails, what was read comes first, and then the error.

    Raises:
        TypeError: an item is no demonstration.
    """
    batch: list[Demonstration] = []
    characters = 0
    try:
        for position, item in enumerate(demonstrations):
            if not isinstance(item, Demonstration):
                raise TypeError(
                    f"item {position} is of type {type(item).__name__}, and a store holds Demonstration "
                    "objects: build one by Demonstration.from_dict"
                )
            texts = [message.content for message in item.messages]
            texts += [item.chosen or "", item.rejected or ""]
            characters += sum(map(len, texts))
            batch.append(item)
            if len(batch) >= min(limit, _MOST) or characters > _MOST_CHARACTERS:
                yield batch
                batch, characters = [], 0
    except Exception:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def add_batch(
    collection: Collection,
    batch: Sequence[Demonstration],
    embed: Callable[[Sequence[Demonstration]], Vectors],
) -> AddReport:
    """Writes what is new or has other metadata.

    Args:
        collection: where to.
        batch: as many as one request takes, or fewer.
        embed: returns the vectors of their prompts; called for those that are new.

    Raises:
        StoreError: the collection can't be written.
    """
    unique = {item.id: item for item in batch}
    with collection.lock:
        known = dict(collection.records(unique))
        new = [item for id_, item in unique.items() if id_ not in known]
        changed = [unique[id_] for id_, record in known.items() if not same_metadata(record, unique[id_])]
        vectors = embed(new) if new else None
        if new or changed:
            with collection.changing() as change:
                if new:
                    records = [to_record(item) for item in new]
                    change("upsert", ids=[item.id for item in new], embeddings=vectors, metadatas=records)
                if changed:
                    # An update merges metadata: names that are gone have to be named, as None.
                    updates = [{**dict.fromkeys(known[item.id]), **to_record(item)} for item in changed]
                    change("update", ids=[item.id for item in changed], metadatas=updates)
    return AddReport(len(new), len(changed), len(batch) - len(new) - len(changed))
