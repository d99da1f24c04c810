"""`AnswerFilter`: the filter for demonstrations with the answers that a retriever needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from icdpo_chains.demonstrations.chroma.records import HAS_CHOSEN, HAS_REJECTED
from icdpo_chains.foundation.validation import check_method

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.store import DemonstrationStore, Where

__all__ = ["AnswerFilter", "holds_unpaired"]


class AnswerFilter:
    """The filter for demonstrations with the answers that a retriever needs. Thread-safe.

    Args:
        store: the demonstrations.
        require_chosen: only demonstrations with a chosen answer.
        require_rejected: only demonstrations with a rejected answer.
        where: only demonstrations with matching metadata (Chroma's `where`).

    Raises:
        TypeError: the store is no store, for example its directory.
    """

    def __init__(
        self,
        store: DemonstrationStore,
        *,
        require_chosen: bool = True,
        require_rejected: bool = False,
        where: Where | None = None,
    ) -> None:
        hint = "a DemonstrationStore; open_store(directory) opens one. A retriever needs none"
        check_method(store, "the store", "list", hint)
        self._store, self._require_chosen = store, require_chosen
        self._conditions: list[dict[str, Any]] = [dict(where)] if where else []
        if require_rejected:
            self._conditions.append({HAS_REJECTED: True})
        self._known: tuple[str, Where | None] | None = None

    def where(self, stamp: str | None = None) -> Where | None:
        """Returns Chroma's `where`; `None` if every demonstration of the store has the answers.

        Args:
            stamp: the store's fingerprint, if it is known.
        """
        stamp = self._store.fingerprint if stamp is None else stamp
        if self._known is None or self._known[0] != stamp:
            conditions = [*self._conditions]
            # A filter makes Chroma's search slower, and most stores have no lone rejected answers.
            if self._require_chosen and self._store.list(where={HAS_CHOSEN: False}, limit=1):
                # Only demonstrations without a chosen answer have the key.
                conditions.append({HAS_CHOSEN: {"$ne": False}})
            self._known = (
                stamp,
                {"$and": conditions} if len(conditions) > 1 else next(iter(conditions), None),
            )
        return self._known[1]


def holds_unpaired(store: DemonstrationStore) -> bool:
    """Returns whether a store contains demonstrations that lack a chosen or a rejected answer."""
    return any(store.list(where={key: False}, limit=1) for key in (HAS_REJECTED, HAS_CHOSEN))
