"""`JobOutput`: the file that a batch job writes; the file records the job's progress."""

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
from icdpo_chains.foundation.atomic_file import atomic_file
from icdpo_chains.foundation.jsonl import check_same_settings, json_safe

__all__ = ["JOB", "JobOutput"]

JOB = ".job.json"
"""The suffix of the job's own file, after the output's name."""


class JobOutput(AbstractContextManager["JobOutput"]):
    """A JSONL file with one line per row; each line is complete or absent.

    A file beside it, the output's name with `.job.json`, has the settings of the job, so that the job never
    continues with other settings; while the output is empty or gone, they begin a new job. The rows on disk
    are the rows done: reopening the file removes a last line that a stop cut off. One process writes at a
    time.

    Args:
        path: the output, `.jsonl`, or a link to one; created with its directories if it does not exist.
        settings: JSON values by name. A `seed` of `None` takes the job's first seed, or draws one.
        count: returns the number of rows in the input; called once per job.
        retry_failed: remove the failed rows, so that they are answered again.

    Attributes:
        path: the output.
        seed: the seed of the job.
        rows: the number of rows in the input.
        done: the numbers of the rows in the file.
        failed: the number of rows in the file that contain an error.

    Raises:
        InvalidInputError: the file belongs to a job with other settings, to no job, or to a running job; it
            or a file of the job beside it is a pipe, a directory or a link.
        ICDPOError: the file can't be written.
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
        if self.path.suffix != ".jsonl":
            raise InvalidInputError(f"{self.path} must end in .jsonl: the job writes one line per row")
        if self.path.is_symlink():  # two names of one file are one output, with one lock
            self.path = Path(os.path.realpath(self.path))
        self._job = self.path.with_name(self.path.name + JOB)
        self._lock = self.path.with_name(f"{self.path.name}.lock")
        with _disk_errors_explained(self.path), ExitStack() as opened:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._check_files()
            lock = FileLock(self._lock)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                raise InvalidInputError(
                    f"{self.path} is open in another process: wait until that job ends"
                ) from None
            opened.callback(lock.release)
            self.seed, self.rows = self._settle(json.loads(_line(settings)), count)
            self._size = self._read()
            if retry_failed and self.failed:
                self._replace(
                    self.path, (line for line, record in self._records() if not record.get("error"))
                )
                self._size = self._read()
            self._file = opened.enter_context(self.path.open("ab", buffering=0))
            self._file.truncate(self._size)
            self._opened = opened.pop_all()

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Writes records, and returns when they are on disk; skips rows that the file already has.

        Args:
            records: JSON values with the number of their `row`.

        Raises:
            ICDPOError: the disk is full or gone, or another program changed the file; the file then has none
                of these records.
        """
        self.check()
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
        self.failed += sum(record.get("error") is not None for record in fresh.values())

    def check(self) -> None:
        """Checks that the files are those which the job has written.

        Raises:
            ICDPOError: another program removed, replaced or changed one of them.
        """
        try:
            found = self.path.stat()
            own = os.path.samestat(found, os.fstat(self._file.fileno())) and found.st_size == self._size
        except FileNotFoundError:
            own = False
        if not own or not self._job.exists():
            raise ICDPOError(
                f"another program removed or changed {self.path} or {self._job.name} while the job ran: run "
                "the same command again with another output, and leave its files alone until the end"
            )

    def close(self) -> None:
        """Closes the file, with all appended records."""
        self._opened.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_files(self) -> None:
        """Refuses pipes, which would be waited for, and links, whose targets belong to somebody else."""
        for file in (self.path, self._job, self._lock):
            if file.is_symlink() or (file.exists() and not file.is_file()):
                raise InvalidInputError(f"{file} is not a regular file: remove it, or name another output")

    def _settle(self, settings: dict[str, Any], count: Callable[[], int]) -> tuple[int, int]:
        """Returns the seed and the number of rows, of the continued job or of a new one."""
        empty = not self.path.exists() or not self.path.stat().st_size
        if self._job.exists():
            found, rows = self._found_job(empty)
            seed = int(found["seed"])
            same = settings if settings.get("seed") is not None else {**settings, "seed": seed}
            if not empty:
                check_same_settings(self.path, found, same)
            if not empty or found == same:
                return seed, rows
            # Nothing depends on the settings of a job whose rows are gone.
        elif not empty:
            raise InvalidInputError(
                f"{self.path} exists without {self._job.name} beside it, so it can't be continued: name "
                "another file"
            )
        if settings.get("seed") is None:
            settings["seed"] = secrets.randbits(32)
        rows = count()
        self._replace(self._job, [_line({"settings": settings, "rows": rows})])
        return settings["seed"], rows

    def _found_job(self, empty: bool) -> tuple[dict[str, Any], int]:
        """Returns the settings and the number of rows in the job's file."""
        try:
            job = json.loads(self._job.read_bytes())
            settings, rows = dict(job["settings"]), int(job["rows"])
            int(settings["seed"])
        except (ValueError, TypeError, KeyError):
            remove = "it" if empty else "both"
            raise InvalidInputError(
                f"{self._job} is damaged: name another output, or remove {remove}"
            ) from None
        return settings, rows

    def _read(self) -> int:
        """Records the rows in the file; returns the bytes of the complete lines."""
        self.done: set[int] = set()
        self.failed = size = 0
        for number, (line, record) in enumerate(self._records(), 1):
            row = record.get("row") if isinstance(record, dict) else None
            if not isinstance(row, int) or not 1 <= row <= self.rows or row in self.done:
                raise InvalidInputError(
                    f"{self.path}, line {number}: no record of this job, or a repeated row: remove the line"
                )
            self.done.add(row)
            self.failed += record.get("error") is not None
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
        """Rewrites a file; on failure the old file stays."""
        with atomic_file(path) as file:
            file.writelines(lines)


@contextmanager
def _disk_errors_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ICDPOError(
            f"{path} can't be written ({error.strerror or error}); the lines in it are complete. Free some "
            "space or change the permissions, and run the same command again to continue"
        ) from error


def _write(file: Any, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
    os.fsync(file.fileno())


def _line(value: Mapping[str, Any]) -> bytes:
    # In ASCII no character can be cut in half, and a line break always ends a record.
    return (json.dumps(json_safe(value), ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")
