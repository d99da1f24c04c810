"""`TwoSidedRetriever`: chosen and rejected answers of different demonstrations, without pairs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Protocol

from icdpo_chains.demonstrations.answer_filter import holds_unpaired
from icdpo_chains.demonstrations.retriever import RetrievedDemonstration, Retriever
from icdpo_chains.errors import NoDemonstrationsError
from icdpo_chains.messages import Conversation

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.store import DemonstrationStore

__all__ = ["SideFactory", "TwoSidedRetriever"]


class SideFactory(Protocol):
    """Builds the retriever of one side."""

    def __call__(self, *, require_chosen: bool, require_rejected: bool) -> Retriever:
        """Builds it.

        Args:
            require_chosen: only demonstrations with a chosen answer.
            require_rejected: only demonstrations with a rejected answer.
        """
        ...


class TwoSidedRetriever:
    """Retrieves k demonstrations for their chosen answers and k for their rejected answers.

    In a store of pairs, both are the same demonstrations, found by one retrieval. With thumbs in the store,
    the k nearest chosen and the k nearest rejected answers may belong to different demonstrations;
    `RetrievedDemonstration.side` is then the answer to show.

    Args:
        store: the demonstrations.
        build: builds the retriever of one side over this store.
    """

    def __init__(self, store: DemonstrationStore, build: SideFactory) -> None:
        self.store = store
        self._chosen = build(require_chosen=True, require_rejected=False)
        self._rejected = build(require_chosen=False, require_rejected=True)
        self._known: tuple[str, bool] | None = None

    def retrieve(
        self, prompt: Conversation, k: int | None = None, *, exclude: Collection[str] = ()
    ) -> list[RetrievedDemonstration]:
        """Returns up to k demonstrations of each side, best first. See `Retriever.retrieve`."""
        if not self._holds_unpaired():
            return self._chosen.retrieve(prompt, k, exclude=exclude)
        sides = []
        for retriever in (self._chosen, self._rejected):
            try:
                sides.append(retriever.retrieve(prompt, k, exclude=exclude))
            except NoDemonstrationsError:  # from a threshold, if the store has no demonstration of this side
                sides.append([])
        chosen, rejected = ({found.demonstration.id for found in side} for side in sides)
        both = chosen & rejected
        # Alternately: if a context is too long, the farthest are dropped first, equally from both sides.
        merged: dict[str, RetrievedDemonstration] = {}
        for found in chain.from_iterable(zip_longest(*sides)):
            if found is not None:
                id_ = found.demonstration.id
                side = "both" if id_ in both else "chosen" if id_ in chosen else "rejected"
                merged.setdefault(id_, replace(found, side=side))
        return list(merged.values())

    def _holds_unpaired(self) -> bool:
        stamp = self.store.fingerprint
        if self._known is None or self._known[0] != stamp:
            self._known = (stamp, holds_unpaired(self.store))
        return self._known[1]
