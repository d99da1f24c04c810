"""`ReadReport`: the shapes of a preference file, and the outcomes of its rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["ReadReport", "RefusedRow"]


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A refused row and the reason.

    Attributes:
        path: the file as given; for a file in an archive or a directory, with its path there.
        line: the position, from 1: the line in JSON lines, the first line of the record in CSV, the row's
            number in a JSON array and in Parquet.
        reason: the reason in one sentence.
        id: the row's own `custom_id` or `id`, if `read_prompt_rows` refused it.
    """

    path: str
    line: int
    reason: str
    id: str | int | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}"


@dataclass
class ReadReport:
    """Counts of what `read_demonstrations` read; filled while the file is read.

    Attributes:
        shapes: the number of rows of each shape.
        skipped: the number of valid rows without a demonstration, by the reason, such as a tie.
        notes: the number of changed rows, by the change.
    """

    shapes: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
