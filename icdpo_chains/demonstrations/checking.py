"""`check_store`: finds damage in a store without loading the store into Chroma."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from icdpo_chains.demonstrations.chroma.database import database_fault, raw_records
from icdpo_chains.demonstrations.chroma.local import ReadOnlyDirectory
from icdpo_chains.demonstrations.chroma.reading import read_record
from icdpo_chains.errors import StoreError, StoreUnavailableError

__all__ = ["StoreCheck", "check_store"]


@dataclass(frozen=True)
class StoreCheck:
    """The result of a check.

    Attributes:
        database: the fault of the database; `None` if it is intact.
        index: the fault of the vector index; `None` if it is intact. Opening the store rebuilds a damaged
            index.
        records: the number of readable records.
        damaged: the fault of each unreadable record, by its id.
    """

    database: str | None
    index: str | None = None
    records: int = 0
    damaged: Mapping[str, str] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return self.database is None and self.index is None and not self.damaged


def check_store(path: str | os.PathLike[str], collection: str = "demonstrations") -> StoreCheck:
    """Checks the database, the index and each record of a store; changes nothing.

    Args:
        path: the store's directory.
        collection: the name of the Chroma collection.

    Raises:
        StoreUnavailableError: there is no store.
        StoreLockedError: another process writes to the store without a pause.
    """
    directory = Path(path)
    reader = ReadOnlyDirectory(directory)
    try:
        index = reader.fault(collection)
    except StoreUnavailableError as error:
        return StoreCheck(str(error))
    fault = database_fault(directory)
    if fault is not None:
        return StoreCheck(fault, index)
    try:
        rows = raw_records(directory, collection)
    except sqlite3.DatabaseError as error:
        return StoreCheck(str(error), index)
    if rows is None:
        raise StoreUnavailableError(
            f"there is no store in {str(directory)!r} with the collection {collection!r}: check the path"
        )
    damaged = {}
    for id_, record in rows:
        try:
            read_record(id_, record)
        except StoreError as error:
            damaged[id_] = str(error)
    return StoreCheck(None, index, len(rows) - len(damaged), damaged)
