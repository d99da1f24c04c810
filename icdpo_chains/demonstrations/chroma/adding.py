"""Adds demonstrations in batches; `AddReport` has the counts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from icdpo_chains.demonstrations.chroma.reading import read_record
from icdpo_chains.demonstrations.chroma.records import PROMPT, from_record, same_metadata, to_record
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.pairing import is_thumbs, is_vote, regrouped
from icdpo_chains.errors import StoreError

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.chroma.collection import Collection, Record
    from icdpo_chains.demonstrations.embedding import Vectors

__all__ = ["AddReport", "add_batch", "batches"]

# Acknowledged batches survive a crash, so an import is written in small steps. A server also refuses
# requests above 40 MB.
_MOST, _MOST_CHARACTERS = 256, 4_000_000


@dataclass(frozen=True)
class AddReport:
    """The counts of an import.

    Attributes:
        added: new demonstrations and new votes.
        updated: known demonstrations with changed metadata.
        unchanged: known demonstrations, or duplicates within the import.
        places: by a demonstration's own id, the id of the pair that it became part of.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    places: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def total(self) -> int:
        """How many were given."""
        return self.added + self.updated + self.unchanged

    def __add__(self, other: AddReport) -> AddReport:
        # The second part may have split a pair that the first part made.
        places = {id_: other.places.get(place, place) for id_, place in self.places.items()}
        return AddReport(
            self.added + other.added,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
            {**places, **other.places},
        )


def batches(demonstrations: Iterable[Demonstration], limit: int) -> Iterator[list[Demonstration]]:
    """Cuts an import into batches of at most `limit`.

    If reading fails, the batch read so far comes first, and then the error.

    Raises:
        TypeError: an item is not a demonstration.
    """
    batch: list[Demonstration] = []
    characters = 0
    try:
        for position, item in enumerate(demonstrations):
            if not isinstance(item, Demonstration):
                raise TypeError(
                    f"item {position} is of type {type(item).__name__}, and a store contains Demonstration "
                    "objects: build one by Demonstration.from_dict"
                )
            texts = [message.text for message in item.messages]
            texts += [item.chosen or "", item.rejected or ""]
            characters += sum(map(len, texts))
            batch.append(item)
            if len(batch) >= min(limit, _MOST) or characters > _MOST_CHARACTERS:
                yield batch
                batch, characters = [], 0
    except Exception:  # of the caller's reader, whatever it raises: the rows before the error are kept
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def add_batch(
    collection: Collection,
    batch: Sequence[Demonstration],
    embed: Callable[[Sequence[Demonstration]], Vectors],
) -> AddReport:
    """Writes demonstrations that are new or have changed metadata.

    Args:
        collection: the target.
        batch: at most as many demonstrations as one request takes.
        embed: returns the vectors of prompts; called for new demonstrations.

    Raises:
        StoreError: the collection can't be written.
    """
    pairs = {item.id: item for item in batch if not is_thumbs(item)}
    # Each vote counts; of other duplicates, the last metadata stay.
    thumbs = list(
        {
            (item.id, position if is_vote(item) or item.is_pair else None): item
            for position, item in enumerate(batch)
            if is_thumbs(item)
        }.values()
    )
    with collection.lock:
        known = _readable(collection.records(pairs))
        new = [item for id_, item in pairs.items() if id_ not in known]
        changed = [pairs[id_] for id_, record in known.items() if not same_metadata(record, pairs[id_])]
        report = AddReport(len(new), len(changed), len(batch) - len(thumbs) - len(new) - len(changed))
        gone: list[str] = []
        if thumbs:
            grouped = _grouped(collection, thumbs, new)
            new, known = [*new, *grouped.new], {**known, **grouped.known}
            changed += grouped.changed
            gone, report = grouped.gone, report + grouped.report
        # In the order of insertion.
        order: dict[str, int] = {}
        for position, item in enumerate(batch):
            order.setdefault(report.places.get(item.id, item.id), position)
        new.sort(key=lambda item: order.get(item.id, -1))
        vectors = embed(new) if new else None
        if new or changed or gone:
            with collection.changing() as change:
                if new:
                    records = [to_record(item) for item in new]
                    change("upsert", ids=[item.id for item in new], embeddings=vectors, metadatas=records)
                if changed:
                    # An update merges metadata: removed names must be set to None.
                    updates = [{**dict.fromkeys(known[item.id]), **to_record(item)} for item in changed]
                    change("update", ids=[item.id for item in changed], metadatas=updates)
                if gone:  # after their successors are written
                    change("delete", ids=gone)
    return report


def _readable(records: Iterable[tuple[str, Record]]) -> dict[str, Record]:
    """Leaves damaged records out; adding the demonstration again replaces its damaged record."""
    found = {}
    for id_, record in records:
        with contextlib.suppress(StoreError):
            read_record(id_, record)
            found[id_] = record
    return found


@dataclass(frozen=True)
class _Grouped:
    """The changes of thumbs to a collection."""

    new: list[Demonstration]
    changed: list[Demonstration]
    gone: list[str]
    known: Mapping[str, Record]
    report: AddReport


def _grouped(
    collection: Collection, thumbs: Sequence[Demonstration], arriving: Sequence[Demonstration]
) -> _Grouped:
    """Combines thumbs with the known demonstrations of their prompts, including pairs in the same batch."""
    arrivals: dict[str, list[Demonstration]] = {}
    for item in thumbs:
        arrivals.setdefault(item.prompt_id, []).append(item)
    # By prompt; also by id, for records of earlier versions without the prompt's hash.
    ids = collection.ids(where={PROMPT: {"$in": list(arrivals)}}) + [item.id for item in thumbs]
    known = _readable(collection.records(ids))
    there: dict[str, list[Demonstration]] = {}
    for item in [*map(from_record, known.values()), *arriving]:
        there.setdefault(item.prompt_id, []).append(item)
    new: list[Demonstration] = []
    changed: list[Demonstration] = []
    gone: list[str] = []
    report = AddReport()
    for prompt, items in arrivals.items():
        before = {item.id: item for item in there.get(prompt, [])}
        after = regrouped(before.values(), items)
        kept = {item.id: item for item in after.demonstrations}
        new += [item for id_, item in kept.items() if id_ not in before]
        changed += [
            item for id_, item in kept.items() if id_ in known and not same_metadata(known[id_], item)
        ]
        gone += [id_ for id_, item in before.items() if id_ not in kept and is_thumbs(item)]
        report += AddReport(
            after.outcomes.count("added"),
            after.outcomes.count("updated"),
            after.outcomes.count("unchanged"),
            after.places,
        )
    return _Grouped(new, changed, gone, known, report)
