"""`FileImport`: a preference file on its way into a store, and its outcome.

`icdpo import` and the page of `icdpo ui` share it, so that they read, preview and report a file alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from icdpo_chains.demonstrations.files import ReadReport, RefusedRow, read_demonstrations
from icdpo_chains.demonstrations.pairing import is_tie
from icdpo_chains.demonstrations.store import AddReport
from icdpo_chains.errors import InvalidInputError, UnknownFormatError
from icdpo_chains.foundation.printable import counted

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.demonstration import Demonstration
    from icdpo_chains.demonstrations.store import DemonstrationStore

__all__ = ["FileImport", "parse_columns", "parse_verdict"]

_WIDTH = 300
_KINDS = ("pairs", "ups", "downs", "ties")
_COLUMNS = "prompt=question,chosen=good,rejected=bad"


def parse_columns(given: str) -> dict[str, str]:
    """Returns the columns by their meaning, given as `prompt=question,chosen=good,rejected=bad`.

    Raises:
        InvalidInputError: the text has another form.
    """
    parts = [part.partition("=") for part in given.split(",")]
    if not all(name.strip() and column.strip() for name, _, column in parts):
        raise InvalidInputError(f"{given!r} is not of the form {_COLUMNS}")
    return {name.strip(): column.strip() for name, _, column in parts}


def parse_verdict(given: str) -> tuple[str, str]:
    """Returns the verdicts for the first and for the second of two answers, given as `0,1`.

    Raises:
        InvalidInputError: the text has another form.
    """
    first, _, second = (name.strip() for name in given.partition(","))
    if not first or not second or first == second or "," in second:
        raise InvalidInputError(f"{given!r} is not of the form FIRST,SECOND")
    return first, second


@dataclass
class FileImport:
    """One name of files, and the outcome of reading it.

    Attributes:
        name: the name as given; see `read_demonstrations`.
        demonstrations: the content; read once, by `preview` or `store`.
        shapes: the counts of shapes, skipped rows and notes.
        refused: the refused rows.
        report: what `store` stored; also after an error.
        failure: why no row could be read; `None` if rows could.
        first: the first demonstration that `preview` read.
        kinds: the numbers of pairs, ups, downs and ties that `preview` read; see `StoreStatistics`.
    """

    name: str
    demonstrations: Iterator[Demonstration] = field(default_factory=lambda: iter(()))
    shapes: ReadReport = field(default_factory=ReadReport)
    refused: list[RefusedRow] = field(default_factory=list)
    report: AddReport = field(default_factory=AddReport)
    failure: str | None = None
    first: Demonstration | None = None
    kinds: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_KINDS, 0))

    @classmethod
    def opened(
        cls,
        name: str,
        *,
        columns: Mapping[str, str] | None = None,
        all_pairs: bool = False,
        threshold: float | None = None,
        verdict: tuple[str, str] | None = None,
        pair_thumbs: bool = False,
    ) -> FileImport:
        """Returns the import of a file of a known format; of another format, one with a `failure`.

        Args:
            name: see `read_demonstrations`, also for the other arguments.
            columns: the columns by their meaning.
            all_pairs: return all pairs of a ranked list.
            threshold: the least rating of a good answer.
            verdict: the verdicts for the first and for the second of two answers.
            pair_thumbs: pair ups and downs while reading. A preview needs it; a store pairs by itself.

        Raises:
            OSError: the file can't be found or opened.
        """
        opened = cls(name)
        try:
            opened.demonstrations = read_demonstrations(
                name,
                on_refused=opened.refused.append,
                columns=columns,
                all_pairs=all_pairs,
                threshold=threshold,
                verdict=verdict,
                pair_thumbs=pair_thumbs,
                report=opened.shapes,
            )
        except UnknownFormatError as error:
            opened.failure = str(error)
        return opened

    @property
    def empty(self) -> bool:
        """Whether no row could be used."""
        return not self.report.total and not any(self.kinds.values())

    def preview(self) -> None:
        """Reads everything without storing it.

        Raises:
            OSError: the file can't be read.
        """
        try:
            for item in self.demonstrations:
                self.first = self.first or item
                self.kinds[_kind(item)] += 1
        except UnknownFormatError as error:
            self.failure = str(error)

    def store(self, store: DemonstrationStore, on_batch: Callable[[AddReport], None] | None = None) -> None:
        """Adds everything to a store. What was stored before an error stays, and `report` counts it.

        Args:
            store: a store that is open for writing.
            on_batch: called with the report so far after each written batch.

        Raises:
            OSError: the file can't be read.
            StoreError: the store can't be written.
        """

        def count(report: AddReport) -> None:
            self.report = report
            if on_batch is not None:
                on_batch(report)

        try:
            self.report = store.add(self.demonstrations, on_batch=count)
        except UnknownFormatError as error:
            self.failure = str(error)

    def lines(self, *, previewed: bool) -> list[str]:
        """Returns the outcome as lines of text: counts, shapes, and the first demonstration of a preview.

        Args:
            previewed: whether the file was read by `preview`, not by `store`.
        """
        report, kinds = self.report, self.kinds
        counts = (
            f"{counted(kinds['pairs'], 'pair')}, {counted(kinds['ups'], 'lone chosen answer')}, "
            f"{counted(kinds['downs'], 'lone rejected answer')}"
            if previewed
            else f"{report.total:,} read, {report.added:,} added, {report.updated:,} updated, "
            f"{report.unchanged:,} already there"
        )
        lines = [f"{self.name}: {counts}, {len(self.refused):,} refused"]
        for what, counter in (("shape", self.shapes.shapes), ("skipped", self.shapes.skipped)):
            lines += [f"  {what}: {name} ({counted(count, 'row')})" for name, count in counter.most_common()]
        lines += [f"  note: {note}" for note in self.shapes.notes]
        if kinds["ties"]:
            ties = counted(kinds["ties"], "answer")
            lines.append(f"  kept, but not shown to the model: {ties} with as many thumbs up as down")
        if self.first is not None:
            lines += [f"  {label}: {text}" for label, text in _preview(self.first)]
        return lines

    def to_dict(self, *, previewed: bool) -> dict[str, Any]:
        """Returns the outcome as JSON values; see `lines`."""
        report = self.report
        counts: dict[str, Any] = {
            "read": report.total,
            "added": report.added,
            "updated": report.updated,
            "already_there": report.unchanged,
        }
        if previewed:
            counts = {**self.kinds, "first": self.first.to_dict() if self.first else None}
        return {
            "file": self.name,
            **counts,
            "shapes": dict(self.shapes.shapes),
            "skipped": dict(self.shapes.skipped),
            "notes": dict(self.shapes.notes),
            "failure": self.failure,
        }


def _kind(item: Demonstration) -> str:
    if is_tie(item):
        return "ties"
    return "pairs" if item.is_pair else "ups" if item.chosen is not None else "downs"


def _preview(item: Demonstration) -> list[tuple[str, str]]:
    """Returns the turns and the answers of a demonstration, each on one line."""
    lines: list[tuple[str, str]] = [(message.role, message.text) for message in item.messages]
    lines += [(side, text) for side in ("chosen", "rejected") if (text := getattr(item, side)) is not None]
    shown = [(label, " ".join(text.split())) for label, text in lines]
    shown = [(label, text[:_WIDTH] + ("..." if len(text) > _WIDTH else "")) for label, text in shown]
    if item.metadata:
        shown.append(("metadata", ", ".join(map(str, item.metadata))[:_WIDTH]))
    return shown
