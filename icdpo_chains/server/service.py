"""`Service`: what all endpoints of an application share."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.icdpo import ICDPO
from icdpo_chains.messages import Message
from icdpo_chains.result import ICDPOResult
from icdpo_chains.server.limits import ServerLimits
from icdpo_chains.server.metrics import Metrics
from icdpo_chains.server.protocol.errors import APIError
from icdpo_chains.server.queue import Queue

__all__ = ["Service"]


@dataclass(frozen=True)
class Service:
    """What all endpoints of an application share.

    Attributes:
        icdpo: answers.
        model_name: what clients call the model.
        store: what clients may read and change, if anything.
        limits: what a request may ask for.
        queue: the questions at work.
        metrics: counts them.
        created: when the application was, in seconds since 1970.
    """

    icdpo: ICDPO
    model_name: str
    store: DemonstrationStore | None
    limits: ServerLimits
    queue: Queue
    metrics: Metrics
    created: int

    @classmethod
    def of(cls, request: Request) -> Service:
        """Returns that of the request's application."""
        service: Service = request.app.state.service
        return service

    def check_model(self, name: str | None) -> None:
        """Checks that a request means the model that there is.

        Raises:
            APIError: it means another one.
        """
        if name is not None and name != self.model_name:
            raise APIError(
                404,
                f"there is no model {name!r:.80} here: the one there is is called {self.model_name!r}",
                code="model_not_found",
                param="model",
            )

    def check_candidates(self, count: int, param: str) -> None:
        """Checks a number of candidates, or of responses.

        Raises:
            APIError: there are too many.
        """
        most = self.limits.max_candidates
        if count > most:
            raise APIError(
                400,
                f"{param} makes {count} candidates, and {most} are the most: give fewer",
                param=param,
            )

    def generate(
        self, conversations: Sequence[Sequence[Message]], options: dict[str, Any]
    ) -> asyncio.Task[list[ICDPOResult]]:
        """Starts to answer questions; the core samples them together with what else waits.

        Raises:
            APIError: see `Queue.start`.
        """

        async def work() -> list[ICDPOResult]:
            results: list[ICDPOResult] = await self.icdpo.agenerate_batch(conversations, **options)
            for result in results:
                self.metrics.answered(result)
            return results

        return self.queue.start(work, len(conversations))

    def score(
        self,
        conversation: Sequence[Message],
        responses: Sequence[str],
        k: int | None,
        exclude: Collection[str],
    ) -> asyncio.Task[ICDPOResult]:
        """Starts to rank responses.

        Raises:
            APIError: see `Queue.start`.
        """
        return self.queue.start(lambda: self.icdpo.ascore(conversation, responses, k=k, exclude=exclude))
