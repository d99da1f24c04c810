"""`Reading`: the demonstrations of a collection's records; leaves out only the damaged records."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from icdpo_chains.demonstrations.chroma.records import from_record, prompt_text
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.errors import StoreError

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.chroma.collection import Collection, Record

__all__ = ["Reading", "read_record"]

_log = logging.getLogger(__name__)


class Reading:
    """Reads demonstrations; logs each damaged record once.

    Args:
        collection: the records' collection.
    """

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._told: set[str] = set()

    def demonstrations(self, ids: Iterable[str]) -> Iterator[Demonstration]:
        """Yields the demonstrations with these ids, in this order; skips unknown and damaged ones."""
        for id_, record in self._collection.records(ids):
            try:
                yield read_record(id_, record)
            except StoreError as error:
                self._left_out(id_, error)

    def prompts(self) -> Iterator[tuple[str, str]]:
        """Yields the id and the `prompt_text` of each demonstration without building it."""
        for id_, record in self._collection.records(self._collection.ids()):
            try:
                yield id_, prompt_text(record)
            except StoreError as error:
                self._left_out(id_, error)

    def damaged(self) -> dict[str, tuple[Record, str]]:
        """Returns the damaged records by their ids, each with its fault."""
        found = {}
        for id_, record in self._collection.records(self._collection.ids()):
            try:
                read_record(id_, record)
            except StoreError as error:
                found[id_] = (record, str(error))
        return found

    def _left_out(self, id_: str, error: StoreError) -> None:
        if id_ not in self._told:
            self._told.add(id_)
            _log.warning(
                "the demonstration %s in %s is left out (%s): add it again, or remove it; "
                "`icdpo demos check` lists such records",
                id_,
                self._collection.place,
                error,
            )


def read_record(id_: str, record: Record | None) -> Demonstration:
    """Returns the demonstration of a record.

    Raises:
        StoreError: the record is damaged, or another program wrote it.
    """
    item = from_record(record)
    if item.id != id_:
        raise StoreError(f"the record is damaged: its content has the id {item.id}")
    return item
