"""`JobOutput`: the file that a batch job writes, which says itself how far the job has come."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from icdpo_chains.errors import ICDPOError, InvalidInputError
from icdpo_chains.jsonl import check_same_settings
from icdpo_chains.result import json_safe

__all__ = ["JOB", "JobOutput"]

JOB = ".job.json"
"""The job's own file has the output's name and this."""


class JobOutput(AbstractContextManager["JobOutput"]):
    """A JSONL file with a line a row, each of which is there whole or not at all.

    A file beside it, the output's name with `.job.json`, holds the settings that the job was begun with, so
    that it is never gone on with under others. What is on disk is what is done: a last line that a stop cut
    off is removed when the file is opened again. One process writes at a time.

    Args:
        path: the output, `.jsonl`; made, with its directories, where there is none.
        settings: JSON values by name. A `seed` of `None` is the one that the job was begun with, or drawn.
        count: returns how many rows the input has; asked once a job.
        retry_failed: the rows that failed are taken out, to be done again.

    Attributes:
        path: the output.
        seed: of the job.
        rows: how many the input has.
        done: the numbers of the rows that are in the file.
        failed: how many of them hold an error.

    Raises:
        InvalidInputError: the file is of a job with other settings, of no job, or being written.
        ICDPOError: it can't be written.
    """

    def __init__(
        self,
        path: str | Path,
        settings: Mapping[str, Any],
        count: Callable[[], int],
        *,
        retry_failed: bool = False,
    ) -> None:
        self.path = Path(path)
        self._job = self.path.with_name(self.path.name + JOB)
        if self.path.suffix != ".jsonl":
            raise InvalidInputError(f"{self.path} must end in .jsonl: a line a row is written there")
        with _disk_errors_explained(self.path), ExitStack() as opened:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(f"{self.path}.lock")
            try:
                lock.acquire(blocking=False)
            except Timeout:
                raise InvalidInputError(
                    f"{self.path} is being written by another process: wait for it"
                ) from None
            opened.callback(lock.release)
            self.seed, self.rows = self._settle(json.loads(_line(settings)), count)
            self._size = self._read()
            if retry_failed and self.failed:
                self._replace(self.path, (line for line, record in self._records() if "error" not in record))
                self._size = self._read()
            self._file = opened.enter_context(self.path.open("ab", buffering=0))
            self._file.truncate(self._size)
            self._opened = opened.pop_all()

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Writes records, and returns when they are on disk; rows that are there already are left out.

        Args:
            records: JSON values with the number of their `row`.

        Raises:
            ICDPOError: the disk is full, or gone; none of these records is in the file then.
        """
        fresh: dict[int, Mapping[str, Any]] = {}
        for record in records:
            if record["row"] not in self.done:
                fresh.setdefault(record["row"], record)
        data = b"".join(map(_line, fresh.values()))
        with _disk_errors_explained(self.path):
            try:
                _write(self._file, data)
            except BaseException:
                with suppress(OSError):
                    self._file.truncate(self._size)
                raise
        self._size += len(data)
        self.done.update(fresh)
        self.failed += sum("error" in record for record in fresh.values())

    def close(self) -> None:
        """Closes the file; what was appended is in it."""
        self._opened.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _settle(self, settings: dict[str, Any], count: Callable[[], int]) -> tuple[int, int]:
        """Returns seed and number of rows: those of the job that is gone on with, or of a new one."""
        if not self._job.exists():
            if self.path.exists() and self.path.stat().st_size:
                raise InvalidInputError(
                    f"{self.path} exists, and without {self._job.name} beside it can't be gone on with: name "
                    "another file"
                )
            if settings.get("seed") is None:
                settings["seed"] = secrets.randbits(32)
            rows = count()
            self._replace(self._job, [_line({"settings": settings, "rows": rows})])
            return settings["seed"], rows
        try:
            job = json.loads(self._job.read_bytes())
            found, rows = dict(job["settings"]), int(job["rows"])
            seed = int(found["seed"])
        except (ValueError, TypeError, KeyError):
            raise InvalidInputError(f"{self._job} is damaged: name another output, or remove both") from None
        if settings.get("seed") is None:
            settings["seed"] = seed
        check_same_settings(self.path, found, settings)
        return seed, rows

    def _read(self) -> int:
        """Notes which rows are there; returns the bytes of the whole lines."""
        self.done: set[int] = set()
        self.failed = size = 0
        for number, (line, record) in enumerate(self._records(), 1):
            row = record.get("row") if isinstance(record, dict) else None
            if not isinstance(row, int) or not 1 <= row <= self.rows or row in self.done:
                raise InvalidInputError(
                    f"{self.path}, line {number}: no record of this job, or one twice; remove the line"
                )
            self.done.add(row)
            self.failed += "error" in record
            size += len(line)
        return size

    def _records(self) -> Iterator[tuple[bytes, Any]]:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    return
                try:
                    yield line, json.loads(line)
                except ValueError:
                    yield line, None

    @staticmethod
    def _replace(path: Path, lines: Iterable[bytes]) -> None:
        """Writes a file anew; it is there whole, or the old one stays."""
        unfinished = path.with_name(f"{path.name}.tmp")
        try:
            with unfinished.open("wb") as file:
                for line in lines:
                    file.write(line)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        finally:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)


@contextmanager
def _disk_errors_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ICDPOError(
            f"{path} can't be written ({error.strerror or error}); what it holds is whole. Make room, or "
            "permit it, and run the same again to go on"
        ) from error


def _write(file: Any, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
    os.fsync(file.fileno())


def _line(value: Mapping[str, Any]) -> bytes:
    # In ASCII no character can be cut in half, nor a line break be anything but the end of a record.
    return (json.dumps(json_safe(value), ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")
