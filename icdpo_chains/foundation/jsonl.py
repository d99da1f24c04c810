"""`ResumableFile`: a JSONL file that a long run writes line by line and continues after a stop."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from icdpo_chains.errors import InvalidInputError

__all__ = ["ResumableFile", "check_same_settings", "json_safe"]

_SETTINGS = "settings"


class ResumableFile(AbstractContextManager["ResumableFile"]):
    """A JSONL file of records; each record is complete or absent.

    The first line has the run's settings, so that a run never continues with other settings. Reopening the
    file removes a last line that a stop cut off. One process writes at a time.

    Args:
        path: the file; created with its directories if it does not exist.
        settings: JSON values by name.

    Attributes:
        path: the file.
        records: the records in the file when it was opened, by key, in the order of the file.

    Raises:
        InvalidInputError: the file has other settings, is not a resumable file, or is open in another
            process.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(f"{self.path}.lock")
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise InvalidInputError(
                f"{self.path} is open in another process: wait until that run ends"
            ) from None
        try:
            settings = json.loads(_line(settings))
            if self.path.exists():
                _cut_torn_line(self.path)
            if self.path.exists() and self.path.stat().st_size:
                found, self.records = _read(self.path)
                check_same_settings(self.path, found, settings)
                self._file = self.path.open("a", encoding="ascii")
            else:
                self.records = {}
                self._file = self.path.open("w", encoding="ascii")
                self._write({_SETTINGS: settings})
        except BaseException:
            self._lock.release()
            raise

    def append(self, key: str, record: Mapping[str, Any]) -> None:
        """Writes one record, and returns when it is on disk.

        Args:
            key: the record's name, unique in the file.
            record: JSON values; a number that is not finite becomes `null`.

        Raises:
            ValueError: the file has a record with this key.
        """
        if key in self.records:
            raise ValueError(f"{self.path} already contains a record {key!r}")
        plain = json.loads(_line({"key": key, **record}))
        self._write(plain)
        self.records[key] = plain

    def close(self) -> None:
        """Closes the file, with all appended records."""
        self._file.close()
        self._lock.release()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, value: Mapping[str, Any]) -> None:
        self._file.write(_line(value))
        self._file.flush()
        os.fsync(self._file.fileno())

    @staticmethod
    def read(path: str | Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Returns a file's settings and its records, without a cut-off last line.

        Raises:
            InvalidInputError: the file is not a resumable file.
            OSError: the file can't be read.
        """
        settings, records = _read(Path(path))
        return settings, list(records.values())


def _line(value: Mapping[str, Any]) -> str:
    # In ASCII no character can be cut in half, and a line break always ends a record.
    return json.dumps(json_safe(value), ensure_ascii=True, allow_nan=False) + "\n"


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith("\n"):
                return
            try:
                value = json.loads(line)
            except ValueError:
                value = None
            if not isinstance(value, dict):
                raise InvalidInputError(
                    f"{path}, line {number}: not a JSON object: remove the line, or the file"
                )
            yield number, value


def _read(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    try:
        lines = list(_lines(path))
    except UnicodeDecodeError:
        lines = []
    if not lines or set(lines[0][1]) != {_SETTINGS} or not isinstance(lines[0][1][_SETTINGS], dict):
        raise InvalidInputError(f"{path} was not written by icdpo: its first line has no settings")
    records: dict[str, dict[str, Any]] = {}
    for number, record in lines[1:]:
        if not isinstance(record.get("key"), str) or record["key"] in records:
            raise InvalidInputError(f"{path}, line {number}: a record without a unique key: remove the line")
        records[record["key"]] = record
    return lines[0][1][_SETTINGS], records


def _cut_torn_line(path: Path) -> None:
    with path.open("r+b") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


def check_same_settings(path: Path, found: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Checks that a run continues with its first settings.

    Raises:
        InvalidInputError: settings differ; the message names each of them, and the file.
    """
    differing = [name for name in {**found, **settings} if found.get(name) != settings.get(name)]
    if differing:
        shown = "; ".join(
            f"{name}: {found.get(name)!r:.80}, now {settings.get(name)!r:.80}" for name in differing
        )
        raise InvalidInputError(
            f"{path} was made with other settings ({shown}): use the same settings to "
            "continue, or another file"
        )


def json_safe(value: Any) -> Any:
    """Returns a copy in which each tuple is a list, and each number that is not finite is `None`."""
    if isinstance(value, Mapping):
        return {name: json_safe(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
