"""How an import goes in: `AddReport`, what it did, and the batches it is written in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from icdpo_chains.demonstrations.demonstration import Demonstration

__all__ = ["AddReport", "batches"]

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
            texts = [*(message.content for message in item.messages), item.chosen, item.rejected or ""]
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
