"""`Threshold`: leaves out demonstrations unlike the question; a fixed few replace them."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from icdpo_chains.demonstrations.answer_filter import AnswerFilter
from icdpo_chains.demonstrations.retriever import MAX_DEMONSTRATIONS, RetrievedDemonstration, Retriever
from icdpo_chains.errors import NoDemonstrationsError
from icdpo_chains.foundation.process_local import ProcessLocal
from icdpo_chains.foundation.validation import check_count
from icdpo_chains.messages import Conversation, as_conversation

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.demonstration import Demonstration
    from icdpo_chains.demonstrations.store import DemonstrationStore

__all__ = ["GENERAL", "GeneralDemonstrations", "Substitute", "Threshold", "ThresholdRetriever"]

Substitute = Literal["general", "none"]
"""The substitute if all demonstrations are unlike the question."""

GENERAL = "general"
"""The metadata key that marks general demonstrations: `Demonstration(..., metadata={"general": True})`."""


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """The least similarity to the question at which a demonstration is shown.

    Attributes:
        min_similarity: the least cosine between the prompts, 0 to 1; `None` for no limit.
        min_bm25: the least BM25 score, 0 or more; a demonstration that shares no word with the question
            has 0. `None` for no limit.
        substitute: the substitute if no demonstration is like the question: `"general"` for a fixed few (see
            `GeneralDemonstrations`), `"none"` for the instructions alone.

    Raises:
        TypeError: a limit is not a number.
        ValueError: a value is out of range.
    """

    min_similarity: float | None = None
    min_bm25: float | None = None
    substitute: Substitute = "general"

    def __post_init__(self) -> None:
        for name, most in (("min_similarity", 1.0), ("min_bm25", 1e6)):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} must be a number or None, not {value!r}")
            if not (math.isfinite(value) and 0 <= value <= most):
                raise ValueError(f"{name} is {value}, and must be from 0 to {most:g}")
        if self.substitute not in get_args(Substitute):
            raise ValueError(
                f"substitute is {self.substitute!r}, and must be one of {', '.join(get_args(Substitute))}"
            )

    @property
    def limits(self) -> bool:
        """Whether there is a limit."""
        return self.min_similarity is not None or self.min_bm25 is not None

    @property
    def leaves_some(self) -> bool:
        """Whether a question always gets demonstrations from a store that has some."""
        return not self.limits or self.substitute != "none"

    def passes(self, found: RetrievedDemonstration) -> bool:
        """Returns whether a demonstration is like the question; true for a demonstration without scores."""
        if found.similarity is None and found.bm25_score is None:
            return True
        near = (
            self.min_similarity is None or found.similarity is None or found.similarity >= self.min_similarity
        )
        return near and (self.min_bm25 is None or (found.bm25_score or 0.0) >= self.min_bm25)

    def applied(
        self,
        retriever: Retriever,
        store: DemonstrationStore,
        k: int,
        *,
        require_chosen: bool = True,
        require_rejected: bool,
    ) -> Retriever:
        """Returns the retriever with this threshold, or the retriever itself if there is no limit.

        Args:
            retriever: the retriever over the store.
            store: provides the general demonstrations.
            k: the number of general demonstrations.
            require_chosen: only general demonstrations with a chosen answer.
            require_rejected: only general demonstrations with a rejected answer.
        """
        if not self.limits:
            return retriever
        general = GeneralDemonstrations(
            store, k, require_chosen=require_chosen, require_rejected=require_rejected
        )
        return ThresholdRetriever(retriever, self, general if self.substitute == "general" else None)


class GeneralDemonstrations(ProcessLocal):
    """A fixed few demonstrations of a store, the same for each question.

    Demonstrations with the metadata `{"general": True}` come first; a seeded draw adds the rest. The choice
    is made at the first call, and again after the store changes.

    Args:
        store: the demonstrations.
        k: the number of demonstrations to return.
        seed: the seed of the draw.
        require_chosen: only demonstrations with a chosen answer.
        require_rejected: only demonstrations with a rejected answer.
    """

    def __init__(
        self,
        store: DemonstrationStore,
        k: int = 2,
        *,
        seed: int = 0,
        require_chosen: bool = True,
        require_rejected: bool = False,
    ) -> None:
        self._store = store
        self.k = check_count(k, "k", MAX_DEMONSTRATIONS)
        self._seed = seed
        self._filter = AnswerFilter(store, require_chosen=require_chosen, require_rejected=require_rejected)
        self._lock = threading.Lock()
        self._stamp: str | None = None
        self._order: Sequence[str] = ()
        self._chosen: dict[str, Demonstration] = {}

    def retrieve(
        self, prompt: Conversation, k: int | None = None, *, exclude: Collection[str] = ()
    ) -> list[RetrievedDemonstration]:
        """Returns the first k of the fixed order, marked as general. See `Retriever.retrieve`."""
        as_conversation(prompt)
        k = self.k if k is None else check_count(k, "k", MAX_DEMONSTRATIONS)
        excluded = {exclude} if isinstance(exclude, str) else set(exclude)
        with self._lock:
            if self._stamp != self._store.fingerprint:
                self._stamp = self._store.fingerprint
                self._order, self._chosen = self._ordered(), {}
            wanted = [id_ for id_ in self._order if id_ not in excluded][:k]
            missing = [id_ for id_ in wanted if id_ not in self._chosen]
            if missing:
                self._chosen |= {item.id: item for item in self._store.get(missing)}
            found = [self._chosen[id_] for id_ in wanted if id_ in self._chosen]
        return [RetrievedDemonstration(item, general=True) for item in found]

    def _ordered(self) -> list[str]:
        marked = self._store.ids(where={GENERAL: True})

        def place(id_: str) -> tuple[bool, bytes]:
            # The order of two demonstrations depends on no other: a larger store rarely changes the choice.
            return id_ not in marked, hashlib.sha256(f"{self._seed}\n{id_}".encode()).digest()

        return sorted(self._store.ids(where=self._filter.where()), key=place)


class ThresholdRetriever:
    """Leaves out the demonstrations of another retriever that are unlike the question.

    Args:
        retriever: finds demonstrations and their scores.
        threshold: decides which demonstrations are like the question.
        substitute: finds the substitutes if none is left; `None` for no substitutes.
    """

    def __init__(
        self, retriever: Retriever, threshold: Threshold, substitute: Retriever | None = None
    ) -> None:
        self._retriever, self._threshold, self._substitute = retriever, threshold, substitute

    def retrieve(
        self, prompt: Conversation, k: int | None = None, *, exclude: Collection[str] = ()
    ) -> list[RetrievedDemonstration]:
        """Returns the demonstrations that are like the question, or the substitute. See `Retriever.retrieve`.

        Raises:
            NoDemonstrationsError: the inner retriever finds no demonstration at all.
        """
        found = self._retriever.retrieve(prompt, k, exclude=exclude)
        if not found:
            raise NoDemonstrationsError(
                "the store has no demonstration to show: add some (`icdpo import FILE`), or exclude fewer"
            )
        like = list(filter(self._threshold.passes, found))
        if like or self._substitute is None:
            return like
        return self._substitute.retrieve(prompt, k, exclude=exclude)
