"""The database of a Chroma directory, read without Chroma."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from icdpo_chains.demonstrations.chroma.records import CONTENT
from icdpo_chains.errors import StoreUnavailableError

__all__ = ["DATABASE", "database_fault", "has_collections", "has_database", "open_database", "raw_records"]

DATABASE = "chroma.sqlite3"


def has_database(directory: Path) -> bool:
    """Returns whether the directory has a database.

    Raises:
        StoreUnavailableError: something other than a file is in the place of the database or its journal.
            SQLite would wait for a pipe, name a wrong reason, or create the target of a link.
    """
    database = directory / DATABASE
    _check_kind(database, "restore the database from a copy")
    for suffix in ("-journal", "-wal"):
        _check_kind(directory / f"{DATABASE}{suffix}", "open the store again")
    return database.exists()


def _check_kind(file: Path, then: str) -> None:
    if file.is_file():
        return
    if file.exists():
        kind = "a directory" if file.is_dir() else "a pipe or a device"
        raise StoreUnavailableError(
            f"{str(file)!r} is {kind} instead of a file of the store: move it away, and {then}"
        )
    if file.is_symlink():
        raise StoreUnavailableError(
            f"{str(file)!r}, a file of the store, is a link that leads nowhere: restore its target "
            f"{os.readlink(file)!r} (is its disk mounted?), or remove the link and {then}"
        )


@contextlib.contextmanager
def open_database(directory: Path) -> Iterator[sqlite3.Connection | None]:
    """Opens the database if it exists and has tables; never creates it."""
    if not has_database(directory):
        yield None
        return
    file = directory / DATABASE
    # Not read-only: the next opener rolls back the unfinished transaction of a killed writer.
    database = sqlite3.connect(f"file:{quote(str(file))}?mode=rw", uri=True, timeout=60)
    with contextlib.closing(database):
        # Damaged text is no reason for an exception.
        database.text_factory = lambda text: text.decode("utf-8", "replace")
        try:
            known = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            tables = {name for (name,) in known}
        except UnicodeDecodeError as error:  # SQLite's message repeats damaged text
            raise sqlite3.DatabaseError("malformed database schema") from error
        yield database if "collections" in tables else None


def has_collections(directory: Path) -> bool:
    """Returns whether the database knows any collection."""
    with open_database(directory) as database:
        return database is not None and database.execute("SELECT 1 FROM collections").fetchone() is not None


def database_fault(directory: Path) -> str | None:
    """Returns the first fault that SQLite finds in the database; `None` if it finds none."""
    try:
        with open_database(directory) as database:
            if database is None:
                return None
            # `quick_check` would not compare tables with their indexes.
            found = [row[0] for row in database.execute("PRAGMA integrity_check(5)")]
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if found == ["ok"] else "; ".join(found)


def raw_records(directory: Path, name: str) -> list[tuple[str, dict[str, str]]] | None:
    """Returns the id and the content of each record of a collection, for `from_record`.

    Returns:
        The records in the order of insertion; `None` if there is no such collection.
    """
    with open_database(directory) as database:
        if database is None:
            return None
        segment = database.execute(
            "SELECT s.id FROM segments s JOIN collections c ON s.collection = c.id WHERE c.name = ? AND "
            "s.scope = 'METADATA'",
            (name,),
        ).fetchone()
        if segment is None:
            return None
        rows = database.execute(
            "SELECT e.embedding_id, m.string_value FROM embeddings e LEFT JOIN embedding_metadata m "
            "ON m.id = e.id AND m.key = ? WHERE e.segment_id = ? ORDER BY e.id",
            (CONTENT, *segment),
        )
        return [(str(id_), {} if content is None else {CONTENT: content}) for id_, content in rows]
