"""`save`, `remove` and `undo`: the page's actions on one demonstration, with their messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from icdpo_chains.errors import StoreError
from icdpo_chains.foundation.printable import one_line

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.changes import Changes
    from icdpo_chains.demonstrations.demonstration import Demonstration
    from icdpo_chains.demonstrations.store import DemonstrationStore
    from icdpo_chains.ui.demonstration_form import DemonstrationForm

__all__ = ["Saved", "loaded", "remove", "save", "undo"]

_WIDTH = 40


@dataclass(frozen=True)
class Saved:
    """A saved demonstration.

    Attributes:
        demonstration: the demonstration in the store.
        message: what happened, in words.
    """

    demonstration: Demonstration
    message: str


def loaded(store: DemonstrationStore, id_: str) -> Demonstration:
    """Returns a demonstration.

    Raises:
        StoreError: it is no longer in the store.
    """
    for item in store.get(id_):
        return item
    raise StoreError(
        "the demonstration is no longer in the store: it was removed or edited elsewhere, or became part of "
        "a pair. Look for it again"
    )


def save(store: DemonstrationStore, changes: Changes, edited: str | None, form: DemonstrationForm) -> Saved:
    """Adds a form's demonstration, or puts it in the place of the one that the form was filled with.

    Args:
        store: a store that is open for writing.
        changes: remembers the change.
        edited: the id of the demonstration that the form was filled with; `None` for a new one.
        form: the form.

    Raises:
        DemonstrationError: a text of the form is unusable.
        StoreError: the edited demonstration is gone, or the store can't be written.
    """
    if edited is not None:
        old = loaded(store, edited)
        new = form.demonstration(old)
        if new.id == old.id and new.metadata == old.metadata:
            return Saved(old, "Nothing was changed")
        kept = changes.replace(store, old, new, f"edit of {_named(old)}")
        return Saved(kept, f"Saved.{_paired(new, kept)}")
    new = form.demonstration()
    with changes.recording(store, f"addition of {_named(new)}") as recorder:
        report = store.add(recorder.noting([new]))
    kept = next(iter(store.get(report.places.get(new.id, new.id))), new)
    if report.unchanged:
        return Saved(kept, "The store held it already")
    return Saved(kept, f"{'Added' if report.added else 'Saved'}.{_paired(new, kept)}")


def remove(store: DemonstrationStore, changes: Changes, id_: str) -> str:
    """Removes a demonstration; returns what happened, in words.

    Args:
        store: a store that is open for writing.
        changes: remembers the change.
        id_: the demonstration's id.

    Raises:
        StoreError: it is no longer in the store, or the store can't be written.
    """
    item = loaded(store, id_)
    with changes.recording(store, f"removal of {_named(item)}") as recorder:
        recorder.note([item])
        store.remove(id_)
    return f"Removed: {_named(item)}"


def undo(store: DemonstrationStore, changes: Changes) -> str:
    """Undoes the last change; returns what happened, in words.

    Raises:
        StoreError: the store can't be written.
    """
    undone = changes.undo(store)
    if undone is None:
        return "There is nothing to undo"
    if not undone.left:
        return f"Undone: {undone.what}"
    if not undone.prompts:
        return f"Not undone: {undone.what}. It changed again since, and stays as it is"
    of = undone.left + undone.prompts
    return f"Undone in part: {undone.what}. {undone.left:,} of {of:,} questions changed again since, and stay"


def _named(item: Demonstration) -> str:
    line = one_line(item.messages[-1].text, _WIDTH)
    return f"\N{LEFT DOUBLE QUOTATION MARK}{line}\N{RIGHT DOUBLE QUOTATION MARK}"


def _paired(new: Demonstration, kept: Demonstration) -> str:
    return " It is a pair now with the other answer to the same question" if kept.id != new.id else ""
