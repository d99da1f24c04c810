"""`RowReader`: turns the rows of one file into demonstrations; votes may wait for the file's end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.files.report import ReadReport, RefusedRow
from icdpo_chains.demonstrations.files.shapes import Reading, read_row
from icdpo_chains.demonstrations.files.shapes.outcome import Ballot, Pointed, Skipped, TreeMessage, Vote
from icdpo_chains.demonstrations.files.shapes.thumbs import Scale
from icdpo_chains.demonstrations.files.shapes.tree import tree_pairs
from icdpo_chains.demonstrations.files.shapes.verdict_order import order_of
from icdpo_chains.demonstrations.pairing import regrouped
from icdpo_chains.errors import DemonstrationError, InvalidInputError, UnknownFormatError

__all__ = ["RowReader"]


class RowReader:
    """Turns the rows of a file into demonstrations; see `read_demonstrations` for the options."""

    def __init__(
        self,
        *,
        columns: Mapping[str, str] | None,
        convert: Callable[[Mapping[str, Any]], Any] | None,
        all_pairs: bool,
        threshold: float | None,
        pair_thumbs: bool,
        verdict: tuple[str, str] | None,
        report: ReadReport,
    ) -> None:
        self.report = report
        self._columns = columns
        self._convert = convert
        self._all_pairs = all_pairs
        self._threshold = threshold
        self._pair_thumbs = pair_thumbs
        self._verdict = None if verdict is None else (verdict[0].strip(), verdict[1].strip())

    def read(
        self, name: str, rows: Iterable[tuple[int, Any]], on_refused: Callable[[RefusedRow], None]
    ) -> Iterator[Demonstration]:
        """Yields the demonstrations of a file.

        Raises:
            UnknownFormatError: the columns of the first row fit no shape, or the whole file does not show
                the meaning of its ratings or verdicts.
        """
        shape_known = False
        votes: list[tuple[int, Vote]] = []
        ballots: list[Ballot] = []
        pointed: list[Pointed] = []
        messages: list[tuple[int, TreeMessage]] = []
        for line, row in rows:
            try:
                if isinstance(row, DemonstrationError):
                    raise row
                reading = self._reading(row)
            except UnknownFormatError as error:
                if not shape_known:
                    raise
                on_refused(RefusedRow(name, line, str(error)))
            except DemonstrationError as error:
                # A row of the wrong type does not show the columns of the others.
                shape_known = shape_known or isinstance(row, dict)
                on_refused(RefusedRow(name, line, str(error)))
            else:
                shape_known = True
                self.report.shapes[reading.shape] += 1
                self.report.notes.update(reading.notes)
                for outcome in reading.outcomes:
                    if isinstance(outcome, Demonstration):
                        yield outcome
                    elif isinstance(outcome, Skipped):
                        self.report.skipped[outcome.reason] += 1
                    elif isinstance(outcome, Ballot):
                        ballots.append(outcome)
                    elif isinstance(outcome, Pointed):
                        pointed.append(outcome)
                    elif isinstance(outcome, TreeMessage):
                        messages.append((line, outcome))
                    elif isinstance(outcome.value, bool) and not self._pair_thumbs:
                        yield from self._thumbs(name, [(line, outcome)], on_refused)
                    else:
                        votes.append((line, outcome))
        yield from self._decided(ballots)
        yield from self._of_positions(pointed)
        yield from self._of_trees(name, messages, on_refused)
        thumbs = self._thumbs(name, votes, on_refused)
        yield from _paired(thumbs) if self._pair_thumbs else thumbs

    def _reading(self, row: Any) -> Reading:
        if self._convert is not None:
            made = self._convert(row)
            if made is None:
                return Reading("your function", (Skipped("left out by your function"),))
            return Reading("your function", (made,) if isinstance(made, Demonstration) else tuple(made))
        if self._columns is not None:
            reading = read_row(_renamed(row, self._columns), all_pairs=self._all_pairs, verdict=self._verdict)
            return Reading(f"{reading.shape}, by the given columns", reading.outcomes, reading.notes)
        return read_row(row, all_pairs=self._all_pairs, verdict=self._verdict)

    def _decided(self, ballots: list[Ballot]) -> Iterator[Demonstration]:
        """Pairs of two answers, whose verdicts all ballots together explain."""
        values: dict[tuple[str, tuple[str, str]], set[str]] = {}
        for ballot in ballots:
            values.setdefault((ballot.column, ballot.answers), set()).add(ballot.value)
        orders: dict[tuple[str, tuple[str, str]], Mapping[str, int]] = {}
        for ballot in ballots:
            kind = (ballot.column, ballot.answers)
            if kind not in orders:
                orders[kind] = order_of(ballot, values[kind])
        for ballot in ballots:
            pair = ballot.decided(orders[ballot.column, ballot.answers])
            if pair is None:
                self.report.skipped["a tie"] += 1
            else:
                yield pair

    def _of_positions(self, pointed: list[Pointed]) -> Iterator[Demonstration]:
        """Pairs of lists with the position of the best answer: from 0, unless a position shows otherwise."""
        from_one = any(one.position == one.count for one in pointed)
        if from_one and any(one.position == 0 for one in pointed):
            raise UnknownFormatError(
                "the positions of the best answers go from 0 to the number of answers: count all from 0"
            )
        for one in pointed:
            pairs = one.from_one if from_one else one.from_zero
            if not pairs:
                self.report.skipped["a tie"] += 1
            yield from pairs

    def _of_trees(
        self, name: str, messages: list[tuple[int, TreeMessage]], on_refused: Callable[[RefusedRow], None]
    ) -> Iterator[Demonstration]:
        """Pairs of replies in trees of messages."""
        lines = {message.id: line for line, message in messages}
        for found in tree_pairs([message for _, message in messages], all_pairs=self._all_pairs):
            if isinstance(found, Demonstration):
                yield found
            else:
                on_refused(RefusedRow(name, lines[found[0].id], found[1]))

    def _thumbs(
        self, name: str, votes: list[tuple[int, Vote]], on_refused: Callable[[RefusedRow], None]
    ) -> Iterator[Demonstration]:
        """Votes as demonstrations with one answer."""
        ratings: dict[str, list[float]] = {}
        for _, vote in votes:
            if not isinstance(vote.value, bool):
                ratings.setdefault(vote.column, []).append(vote.value)
        try:
            scales = {column: Scale.of(column, values, self._threshold) for column, values in ratings.items()}
        except DemonstrationError as error:
            raise UnknownFormatError(str(error)) from None
        for line, vote in votes:
            rating = None if isinstance(vote.value, bool) else vote.value
            up = vote.value if rating is None else scales[vote.column].thumb(rating)
            if up is None:
                self.report.skipped["a rating between good and bad"] += 1
                continue
            metadata = {**vote.metadata, "thumb": "up" if up else "down"}
            if rating is not None:
                metadata[vote.column] = rating
            try:
                yield Demonstration(
                    vote.prompt, vote.answer if up else None, None if up else vote.answer, metadata
                )
            except (InvalidInputError, DemonstrationError) as error:
                on_refused(RefusedRow(name, line, str(error)))


def _paired(thumbs: Iterable[Demonstration]) -> Iterator[Demonstration]:
    """Returns pairs of ups and downs of each prompt, and the remaining votes."""
    prompts: dict[str, list[Demonstration]] = {}
    for thumb in thumbs:
        prompts.setdefault(thumb.prompt_id, []).append(thumb)
    for arrivals in prompts.values():
        yield from regrouped((), arrivals).demonstrations


def _renamed(row: Any, columns: Mapping[str, str]) -> Any:
    """Returns the row with the caller's names; other columns become metadata."""
    if not isinstance(row, Mapping):
        return row
    renamed = {wanted: _value(row, column) for wanted, column in columns.items()}
    others = {
        name: value
        for name, value in row.items()
        if name not in columns.values() and isinstance(value, (str, int, float, bool))
    }
    given = renamed.get("metadata", row.get("metadata"))
    return {**renamed, "metadata": {**others, **(given if isinstance(given, Mapping) else {})}}


def _by_name(items: list[Any]) -> dict[str, Any]:
    """Items of a list by their position and by their name."""
    named = {
        str(item[key]): item
        for item in items
        if isinstance(item, Mapping)
        for key in ("assessment_name", "key", "name")
        if item.get(key)
    }
    return {**{str(i): item for i, item in enumerate(items)}, **named}


def _value(row: Mapping[str, Any], column: str) -> Any:
    if column in row:
        return row[column]
    value: Any = row
    for part in column.split("."):
        if isinstance(value, list):
            value = _by_name(value)
        if not isinstance(value, Mapping) or part not in value:
            raise UnknownFormatError(
                f"there is no column {column!r}: the row has {', '.join(map(repr, list(row)[:20]))}"
            )
        value = value[part]
    return value
