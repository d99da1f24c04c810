"""`ReadReport`: what a preference file was taken for, and what became of its rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["ReadReport", "RefusedRow"]


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that is no demonstration, and why.

    Attributes:
        path: the file, as it was given; for a file in an archive or a directory, with its place there.
        line: where, from 1: the line in JSON lines, the line where the record begins in CSV, the row's number
            in a JSON array and in Parquet.
        reason: why, in one sentence.
    """

    path: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}"


@dataclass
class ReadReport:
    """Counts of what `read_demonstrations` read; filled while the file is read.

    Attributes:
        shapes: how many rows had which shape.
        skipped: how many rows were understood and give no demonstration, by the reason, such as a tie.
        notes: how many rows were changed, by what was changed in them.
    """

    shapes: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
