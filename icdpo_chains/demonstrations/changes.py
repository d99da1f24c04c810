"""`Changes`: the changes that one person makes to a store, the last of which can be undone.

A change is remembered as the store's demonstrations of each affected prompt, before and after the change.
Undoing a thumb therefore also splits the pair that the thumb became a part of, and never touches a prompt
that somebody else has changed since.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from icdpo_chains.demonstrations.chroma.adding import batches
from icdpo_chains.demonstrations.chroma.records import PROMPT
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.pairing import is_thumbs, regrouped
from icdpo_chains.errors import StoreError

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.store import DemonstrationStore

__all__ = ["Changes", "Recorder", "Undone"]

_CHUNK = 256
_MOST_CHANGES = 20

Contents: TypeAlias = "dict[str, str]"
"""Metadata as JSON, by the ids of the demonstrations of one prompt."""


@dataclass(frozen=True)
class Undone:
    """The outcome of an undo.

    Attributes:
        what: the change, in words.
        prompts: the number of prompts whose former demonstrations are back.
        left: the number of prompts that changed again since then: they stay as they are.
    """

    what: str
    prompts: int
    left: int


@dataclass(frozen=True)
class _Change:
    """What a store held for each changed prompt, before the change and after it."""

    what: str
    before: Mapping[str, Sequence[Demonstration]]
    after: dict[str, Contents]

    @property
    def ids(self) -> dict[str, set[str]]:
        """The ids before and after, by prompt."""
        return {
            prompt: {*contents, *(item.id for item in self.before[prompt])}
            for prompt, contents in self.after.items()
        }


class Recorder:
    """Remembers a store's demonstrations of the prompts of a change, before it."""

    def __init__(self, store: DemonstrationStore) -> None:
        self._store = store
        self._before: dict[str, list[Demonstration]] = {}
        self._ids: dict[str, set[str]] = {}

    def note(self, demonstrations: Iterable[Demonstration]) -> None:
        """Remembers the present demonstrations of the prompts of these demonstrations."""
        new: dict[str, set[str]] = {}
        for item in demonstrations:
            new.setdefault(item.prompt_id, set()).add(item.id)
            self._ids.setdefault(item.prompt_id, set()).add(item.id)
        unknown = {prompt: ids for prompt, ids in new.items() if prompt not in self._before}
        for held in _held(self._store, unknown):
            self._before |= {prompt: list(items.values()) for prompt, items in held.items()}

    def noting(self, demonstrations: Iterable[Demonstration]) -> Iterator[Demonstration]:
        """Yields the demonstrations of an import, each after a note of it."""
        for batch in batches(demonstrations, _CHUNK):
            self.note(batch)
            yield from batch

    def change(self, what: str) -> _Change | None:
        """Returns the change since the notes, or `None` if nothing changed."""
        ids = {
            prompt: noted | {item.id for item in self._before[prompt]} for prompt, noted in self._ids.items()
        }
        before, after = {}, {}
        for held in _held(self._store, ids):
            for prompt, items in held.items():
                contents = _contents(items.values())
                if contents != _contents(self._before[prompt]):
                    before[prompt], after[prompt] = self._before[prompt], contents
        return _Change(what, before, after) if after else None


class Changes:
    """The changes that one person makes to a store, in memory; the last 20 can be undone, newest first."""

    def __init__(self) -> None:
        self._done: list[_Change] = []

    @property
    def last(self) -> str | None:
        """The change that `undo` would undo, in words."""
        return self._done[-1].what if self._done else None

    @contextmanager
    def recording(self, store: DemonstrationStore, what: str) -> Iterator[Recorder]:
        """Records the changes of a block, also if the block fails half-way.

        Args:
            store: the store. The block calls `note` or `noting` before each change.
            what: the change, in words.
        """
        recorder = Recorder(store)
        try:
            yield recorder
        finally:
            change = recorder.change(what)
            if change is not None:
                self._done = [*self._done, change][-_MOST_CHANGES:]

    def replace(
        self, store: DemonstrationStore, old: Demonstration, new: Demonstration, what: str
    ) -> Demonstration:
        """Puts a demonstration in the place of another.

        Returns:
            The new demonstration, or the pair that it became a part of.

        Raises:
            StoreError: the old one is no longer in the store, or the store can't be written; the old one is
                kept.
        """
        with self.recording(store, what) as recorder:
            recorder.note([old, new])
            if old.id not in store:
                raise StoreError(
                    "the demonstration is no longer in the store: it was removed, or became part of a pair. "
                    "Look for it again"
                )
            (held,) = _held(store, {new.prompt_id: {new.id}})
            there = [item for item in held[new.prompt_id].values() if item.id != old.id]
            wanted, place = [new], new.id
            gone = {old.id}
            if is_thumbs(new):
                after = regrouped(there, [new])
                wanted, place = list(after.demonstrations), after.places.get(new.id, new.id)
                gone |= {item.id for item in there if is_thumbs(item)}
            store.put(wanted, instead_of=gone)
        return next(iter(store.get(place)), new)

    def undo(self, store: DemonstrationStore) -> Undone | None:
        """Undoes the last change; returns `None` if there is none.

        Prompts that changed since are left as they are.

        Raises:
            StoreError: the store can't be written. Undoing can be tried again.
        """
        if not self._done:
            return None
        change = self._done[-1]
        undone = left = 0
        for held in _held(store, change.ids):
            wanted: list[Demonstration] = []
            gone: list[str] = []
            for prompt, now in held.items():
                before = {item.id: item for item in change.before[prompt]}
                contents = _contents(now.values())
                if contents == _contents(before.values()):
                    undone += 1  # by an earlier attempt, or by hand
                elif contents == change.after[prompt]:
                    undone += 1
                    wanted += [item for id_, item in before.items() if contents.get(id_) != _metadata(item)]
                    gone += [id_ for id_ in now if id_ not in before]
                else:
                    left += 1
            store.put(wanted, instead_of=gone)
        self._done.pop()
        return Undone(change.what, undone, left)


def _contents(items: Iterable[Demonstration]) -> Contents:
    return {item.id: _metadata(item) for item in items}


def _metadata(item: Demonstration) -> str:
    return json.dumps(dict(item.metadata), sort_keys=True)


def _held(
    store: DemonstrationStore, ids: Mapping[str, Iterable[str]]
) -> Iterator[dict[str, dict[str, Demonstration]]]:
    """Yields the demonstrations of some prompts at a time, by prompt and id, in the order of insertion.

    Args:
        store: the store.
        ids: known ids by prompt: records of earlier versions lack the prompt's hash.
    """
    prompts = iter(ids)
    while chunk := list(itertools.islice(prompts, _CHUNK)):
        held: dict[str, dict[str, Demonstration]] = {prompt: {} for prompt in chunk}
        by_id = store.get([id_ for prompt in chunk for id_ in ids[prompt]])
        for item in [*store.list(where={PROMPT: {"$in": chunk}}), *by_id]:
            held[item.prompt_id].setdefault(item.id, item)
        yield held
