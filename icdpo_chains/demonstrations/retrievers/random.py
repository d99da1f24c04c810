"""`RandomRetriever`: draws demonstrations at random."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from icdpo_chains.demonstrations.answer_filter import AnswerFilter
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.retriever import MAX_DEMONSTRATIONS, RetrievedDemonstration
from icdpo_chains.foundation.validation import check_count
from icdpo_chains.messages import Conversation, as_conversation, search_text

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.store import DemonstrationStore

__all__ = ["RandomRetriever"]


class RandomRetriever:
    """Draws demonstrations at random: the baseline for retrieval.

    The same seed and prompt give the same draw.

    Args:
        source: a sequence of demonstrations; or a store, of which those with a chosen answer are drawn.
        k: the number of demonstrations to return.
        seed: the seed of the draw.
    """

    def __init__(
        self, source: DemonstrationStore | Sequence[Demonstration], k: int = 2, *, seed: int = 0
    ) -> None:
        self._source = source
        self._filter = None
        if isinstance(source, str) or not isinstance(source, Sequence):
            self._filter = AnswerFilter(source)
        self.k = check_count(k, "k", MAX_DEMONSTRATIONS)
        self.seed = seed

    def retrieve(
        self, prompt: Conversation, k: int | None = None, *, exclude: Collection[str] = ()
    ) -> list[RetrievedDemonstration]:
        """Returns k random demonstrations. See `Retriever.retrieve`."""
        text = search_text(as_conversation(prompt))
        k = self.k if k is None else check_count(k, "k", MAX_DEMONSTRATIONS)
        excluded = {exclude} if isinstance(exclude, str) else set(exclude)
        digest = hashlib.sha256(f"{self.seed}\n{text}".encode()).digest()
        draw = random.Random(digest)  # noqa: S311
        if isinstance(self._source, Sequence):
            known = {item.id: item for item in self._source}
            ids = sorted(known.keys() - excluded)
            drawn = [known[id_] for id_ in draw.sample(ids, min(k, len(ids)))]
        else:
            where = None if self._filter is None else self._filter.where()
            ids = sorted(self._source.ids(where=where) - excluded)
            drawn = self._source.get(draw.sample(ids, min(k, len(ids))))
        return [RetrievedDemonstration(item) for item in drawn]
