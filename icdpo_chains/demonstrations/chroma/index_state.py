"""`IndexState`: the state of a collection's database and vector index at our last write.

Chroma keeps records in a database and vectors in separate files. It does not notice when the two no longer
match: when files are missing, older or damaged, or when one of them is restored without the other. Each
change therefore ends with a note of both, and each opening compares the note with the files before Chroma
loads them. The comparison uses sizes and checksums, never a clock.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from icdpo_chains.demonstrations.chroma.records import CONTENT, REVISION
from icdpo_chains.errors import StoreUnavailableError
from icdpo_chains.foundation.atomic_file import atomic_file

__all__ = [
    "DATABASE",
    "Checksums",
    "IndexState",
    "database_fault",
    "has_collections",
    "has_database",
    "raw_records",
]

DATABASE = "chroma.sqlite3"
_PERSISTED = "index_metadata.pickle"
_BLOCK = 2**20


class Checksums:
    """CRC-32 of files; recomputed only if a file seems to have changed since the last reading."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int, int], int]] = {}

    def of(self, file: Path) -> tuple[int, int]:
        """Returns a file's size in bytes and its checksum."""
        found = file.stat()
        stamp = (found.st_size, found.st_mtime_ns, found.st_ino)
        known = self._known.get(file)
        if known is None or known[0] != stamp:
            known = self._known[file] = (stamp, _crc(file))
        return found.st_size, known[1]


@dataclass(frozen=True)
class IndexState:
    """The state of a collection on disk.

    Attributes:
        collection: the collection's id.
        segment: the directory of the vector index.
        revision: the revision of the last change recorded in the metadata.
        records: the number of records.
        pending: the number of changes that the index files lack; Chroma replays them when it loads.
        files: size and checksum of each index file, by name; empty if the files are not in use.
        log_lost: whether the database has lost the numbers of its last changes. Chroma then gives new changes
            old numbers, and ignores them.
    """

    collection: str
    segment: str
    revision: str
    records: int
    pending: int
    files: Mapping[str, tuple[int, int]]
    log_lost: bool = False

    @classmethod
    def found(cls, directory: Path, name: str, checksums: Checksums) -> IndexState | None:
        """Reads the state of a collection from the database and the files, without Chroma.

        Returns:
            The state; `None` if the database has no such collection.

        Raises:
            StoreUnavailableError: something other than a file is in the place of the database.
            sqlite3.DatabaseError: the database is damaged.
            OSError: a file can't be read.
        """
        with _database(directory) as database:
            if database is None:
                return None
            row = database.execute(
                "SELECT c.id, s.id, m.id FROM collections c JOIN segments s ON s.collection = c.id AND "
                "s.scope = 'VECTOR' JOIN segments m ON m.collection = c.id AND m.scope = 'METADATA' "
                "WHERE c.name = ?",
                (name,),
            ).fetchone()
            if row is None:
                return None
            collection, segment, metadata = row
            revision = database.execute(
                "SELECT str_value FROM collection_metadata WHERE collection_id = ? AND key = ?",
                (collection, REVISION),
            ).fetchone()
            (records,) = database.execute(
                "SELECT count(*) FROM embeddings WHERE segment_id = ?", (metadata,)
            ).fetchone()
            persisted = database.execute(
                "SELECT seq_id FROM max_seq_id WHERE segment_id = ?", (segment,)
            ).fetchone()
            (pending,) = database.execute(
                "SELECT count(*) FROM embeddings_queue WHERE topic LIKE ? AND seq_id > ?",
                (f"%/{collection}", persisted[0] if persisted else -1),
            ).fetchone()
            (log_lost,) = database.execute(
                "SELECT EXISTS (SELECT 1 FROM max_seq_id WHERE segment_id IN (?, ?) AND seq_id > "
                "(SELECT coalesce(max(seq_id), 0) FROM embeddings_queue))",
                (segment, metadata),
            ).fetchone()
        index = directory / segment
        # Before the first thousand additions, all vectors wait in the database and the files are empty.
        in_use = persisted is not None or (index / _PERSISTED).exists()
        files = (
            sorted(file for file in index.iterdir() if file.is_file()) if in_use and index.is_dir() else []
        )
        return cls(
            collection=collection,
            segment=segment,
            revision=revision[0] if revision else "",
            records=records,
            pending=pending,
            files={file.name: checksums.of(file) for file in files},
            log_lost=bool(log_lost),
        )

    @classmethod
    def noted(cls, directory: Path, name: str) -> IndexState | None:
        """Reads the note of the last change; `None` if there is no readable note."""
        note = _note(directory, name)
        if not note.is_file():  # a named pipe would be waited for
            return None
        try:
            fields = json.loads(note.read_text(encoding="ascii"))
            files = {file: (int(size), int(crc)) for file, (size, crc) in fields.pop("files").items()}
            return cls(files=files, **fields)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def note(self, directory: Path, name: str) -> None:
        """Writes the note atomically."""
        with atomic_file(_note(directory, name)) as file:
            file.write(json.dumps(asdict(self)).encode("ascii"))

    def forget_index(self, directory: Path) -> None:
        """Removes the files and the progress of the vector index, so that Chroma starts a new index.

        Chroma numbers changes and remembers the last applied change for each part of a collection. If the
        database has lost changes, their numbers are used again, and all parts would ignore the new changes.
        """
        index = directory / self.segment
        if index.is_symlink() or index.is_file():
            index.unlink()
        else:
            shutil.rmtree(index, ignore_errors=True)
        with _database(directory) as database:
            if database is None:
                return
            database.execute("DELETE FROM max_seq_id WHERE segment_id = ?", (self.segment,))
            database.execute(
                "UPDATE max_seq_id SET seq_id = (SELECT coalesce(max(seq_id), 0) FROM embeddings_queue) "
                "WHERE seq_id > (SELECT coalesce(max(seq_id), 0) FROM embeddings_queue)"
            )
            database.commit()

    def difference(self, noted: IndexState) -> str | None:
        """Returns the first difference from the note; `None` if there is none.

        Args:
            noted: the note of the last change.
        """
        for name, (size, crc) in noted.files.items():
            if name not in self.files:
                return f"the index file {name} is missing"
            if self.files[name] != (size, crc):
                how = (
                    f"has {self.files[name][0]} bytes, and had {size}" if self.files[name][0] != size else ""
                )
                return f"the index file {name} {how or 'has different contents'}"
        if self.files.keys() != noted.files.keys():
            return "the index has additional files"
        if self.records != noted.records:
            return f"there are {self.records} records, and vectors of {noted.records}"
        if (self.collection, self.segment, self.revision) != (
            noted.collection,
            noted.segment,
            noted.revision,
        ):
            return "the database and the index are from different times"
        if self.log_lost:
            return "the database has lost its log of changes"
        if self.pending != noted.pending:
            return f"{noted.pending} vectors waited in the database for the index, and {self.pending} do now"
        return None


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


def has_collections(directory: Path) -> bool:
    """Returns whether the database knows any collection."""
    with _database(directory) as database:
        return database is not None and database.execute("SELECT 1 FROM collections").fetchone() is not None


def database_fault(directory: Path) -> str | None:
    """Returns the first fault that SQLite finds in the database; `None` if it finds none."""
    try:
        with _database(directory) as database:
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
    with _database(directory) as database:
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


@contextlib.contextmanager
def _database(directory: Path) -> Iterator[sqlite3.Connection | None]:
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


def _note(directory: Path, name: str) -> Path:
    return directory / f"icdpo-index-{name}.json"


def _crc(file: Path) -> int:
    crc = 0
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK):
            crc = zlib.crc32(block, crc)
    return crc
