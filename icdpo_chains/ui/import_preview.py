"""`preview_file` shows a file as `icdpo import --dry-run` does, and `import_file` imports it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from icdpo_chains.demonstrations.file_import import FileImport, parse_columns, parse_verdict
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.foundation.printable import counted, printable

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.changes import Changes
    from icdpo_chains.demonstrations.store import AddReport, DemonstrationStore

__all__ = ["FileOptions", "ImportText", "import_file", "preview_file"]

_SHOWN = 10

COLUMNS, RATING, VERDICTS = "Columns", "Least rating of a good answer", "Verdicts"
"""The names of the page's fields."""

_FIELDS = {"columns": COLUMNS, "threshold": RATING, "verdict": VERDICTS}
_OPTION = re.compile(r"(?:by )?--(columns|threshold|verdict)\b( (?=[^\s=,]+[=,]))?")


@dataclass(frozen=True)
class FileOptions:
    """How to read a file; see `read_demonstrations`.

    Attributes:
        columns: the columns by their meaning, `prompt=question,chosen=good,rejected=bad`; blank for the known
            shapes.
        threshold: the least rating of a good answer, a number; blank for the middle of the ratings' range.
        all_pairs: all pairs of a ranked list.
        verdict: the verdicts for the first and the second of two answers, `0,1`; blank for the known words.
    """

    columns: str = ""
    threshold: str = ""
    all_pairs: bool = False
    verdict: str = ""

    def opened(self, path: Path, *, pair_thumbs: bool) -> FileImport:
        """Opens a file.

        Raises:
            InvalidInputError: the columns or the verdicts have another form, or the threshold is no number.
            OSError: the file can't be opened.
        """
        try:
            threshold = float(self.threshold) if self.threshold.strip() else None
        except ValueError:
            raise InvalidInputError(f"the least rating {self.threshold!r} is not a number") from None
        return FileImport.opened(
            str(path),
            columns=parse_columns(self.columns) if self.columns.strip() else None,
            all_pairs=self.all_pairs,
            threshold=threshold,
            verdict=parse_verdict(self.verdict) if self.verdict.strip() else None,
            pair_thumbs=pair_thumbs,
        )


@dataclass(frozen=True)
class ImportText:
    """What a page says about a file.

    Attributes:
        text: the text.
        usable: whether the file has a demonstration.
    """

    text: str
    usable: bool


def preview_file(path: Path, options: FileOptions) -> ImportText:
    """Reads a file without storing it.

    Raises:
        InvalidInputError: the columns or the verdicts have another form, or the threshold is no number.
        OSError: the file can't be read.
    """
    item = options.opened(path, pair_thumbs=True)
    item.preview()
    return _described(item, path, previewed=True)


def import_file(
    path: Path,
    options: FileOptions,
    store: DemonstrationStore,
    changes: Changes,
    on_batch: Callable[[AddReport], None] | None = None,
) -> ImportText:
    """Imports a file. What was stored before an error stays, and the text counts it.

    Args:
        path: the file.
        options: how to read it.
        store: a store that is open for writing.
        changes: remembers the import, so that it can be undone.
        on_batch: called with the report so far after each written batch.

    Raises:
        InvalidInputError: the columns or the verdicts have another form, or the threshold is no number.
        OSError: the file can't be opened.
        StoreError: the store can't be written.
    """
    item = options.opened(path, pair_thumbs=False)
    with changes.recording(store, f"import of {printable(path.name)}") as recorder:
        item.demonstrations = recorder.noting(item.demonstrations)
        try:
            item.store(store, on_batch)
        except OSError as error:
            item.failure = f"the rest of the file can't be read: {error}"
    return _described(item, path, previewed=False)


def _described(item: FileImport, path: Path, *, previewed: bool) -> ImportText:
    lines = [] if item.failure is None else [_by_fields(item.failure)]
    if not item.empty or item.failure is None:
        lines += item.lines(previewed=previewed)
    lines += [f"  refused {_by_fields(str(row))}" for row in item.refused[:_SHOWN]]
    if len(item.refused) > _SHOWN:
        lines.append(f"  and {counted(len(item.refused) - _SHOWN, 'more refused row')}")
    if item.empty and item.failure is None:
        lines.append("no row could be used")
    # A browser sends the name alone; the directory is the server's own.
    text = "\n".join(lines).replace(str(path), path.name)
    return ImportText(printable(text), not item.empty)


def _by_fields(text: str) -> str:
    """Names the page's fields where a text advises an option of the command line."""
    return _OPTION.sub(
        lambda found: f'{"in " if found[2] else ""}the field "{_FIELDS[found[1]]}"{": " if found[2] else ""}',
        text,
    )
