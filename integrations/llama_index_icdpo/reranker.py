"""`InstantScoreRerank`: orders nodes, or candidate answers as nodes, by the instant scorer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle
from pydantic import ConfigDict, Field

from icdpo_chains.defaults import default_icdpo
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.foundation.picklable import PicklableSettings
from icdpo_chains.icdpo import ICDPO
from icdpo_chains.progress import in_thread

__all__ = ["InstantScoreRerank"]

_dispatcher = get_dispatcher(__name__)


class InstantScoreRerank(PicklableSettings, BaseNodePostprocessor):
    """Orders nodes by how much likelier the demonstrations make their texts as answers to the query.

    Returns new `NodeWithScore` objects around the same nodes, best first. A node without text can't be
    scored: it comes last, with the score `None`.

    Attributes:
        icdpo: the core's object, which provides policy, retriever and scorer; by default the shared default.
        k: the number of demonstrations shown; by default that of the ICDPO.
        top_n: the number of nodes to return.
        threshold: drop nodes with a lower score or without a score.
        keep_retrieval_score: copy each node and keep its former score in the copy's metadata, as
            `retrieval_score`.

    Raises:
        InvalidInputError: the query is missing.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    icdpo: ICDPO | None = Field(default=None, exclude=True, repr=False)
    k: int | None = Field(default=None, ge=1)
    top_n: int = Field(default=3, ge=1)
    threshold: float | None = None
    keep_retrieval_score: bool = False

    @classmethod
    def class_name(cls) -> str:
        """Returns the name under which LlamaIndex serializes it."""
        return "InstantScoreRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if not nodes:
            return []
        if query_bundle is None or not query_bundle.query_str.strip():
            raise InvalidInputError(
                "the query is missing: pass query_str= or query_bundle= to postprocess_nodes"
            )
        icdpo = self.icdpo or default_icdpo()
        query, model = query_bundle.query_str, icdpo.policy.name
        _dispatcher.event(ReRankStartEvent(query=query, nodes=nodes, top_n=self.top_n, model_name=model))
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: model,
            EventPayload.QUERY_STR: query,
            EventPayload.TOP_K: self.top_n,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            best = self._best(icdpo, nodes, query)
            event.on_end(payload={EventPayload.NODES: best})
        _dispatcher.event(ReRankEndEvent(nodes=best))
        return best

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return await in_thread(self._postprocess_nodes, nodes, query_bundle)

    def _best(self, icdpo: ICDPO, nodes: Sequence[NodeWithScore], query: str) -> list[NodeWithScore]:
        texts = [item.node.get_content(metadata_mode=MetadataMode.NONE) for item in nodes]
        candidates = icdpo.score(query, texts, k=self.k).candidates
        if self.threshold is not None:
            candidates = tuple(item for item in candidates if item.score >= self.threshold)
        return [
            self._scored(nodes[candidate.index], candidate.score) for candidate in candidates[: self.top_n]
        ]

    def _scored(self, item: NodeWithScore, score: float) -> NodeWithScore:
        node = item.node
        if self.keep_retrieval_score:
            node = node.model_copy(update={"metadata": {**node.metadata, "retrieval_score": item.score}})
        return NodeWithScore(node=node, score=score if math.isfinite(score) else None)
