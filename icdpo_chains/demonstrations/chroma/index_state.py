"""`IndexState`: the state of a collection's database and vector index at our last write.

Chroma keeps records in a database and vectors in separate files. It does not notice when the two no longer
match: when files are missing, older or damaged, or when one of them is restored without the other. Each
change therefore ends with a note of both, and each opening compares the note with the files before Chroma
loads them. The comparison uses sizes and checksums, never a clock.
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from icdpo_chains.demonstrations.chroma.database import open_database
from icdpo_chains.demonstrations.chroma.records import REVISION
from icdpo_chains.foundation.atomic_file import atomic_file

__all__ = ["Checksums", "IndexState"]

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
        with open_database(directory) as database:
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
        with open_database(directory) as database:
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


def _note(directory: Path, name: str) -> Path:
    return directory / f"icdpo-index-{name}.json"


def _crc(file: Path) -> int:
    crc = 0
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK):
            crc = zlib.crc32(block, crc)
    return crc
