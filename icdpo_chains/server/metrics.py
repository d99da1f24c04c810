"""`Metrics`: the metrics for Prometheus, in the application's own registry."""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import APIRouter, Request, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from icdpo_chains.result import ICDPOResult
from icdpo_chains.server.errors import documented

__all__ = ["STATUS", "Metrics", "Observation", "router"]

STATUS = "icdpo_status"
"""The key of the scope for the outcome of a stream, which always begins with 200."""

_BATCH = (1, 2, 4, 8, 16, 32, 64, 128, 256)

router = APIRouter(tags=["operation"])


class Metrics:
    """The metrics of one application.

    Args:
        waiting: returns the number of questions in progress or waiting.
    """

    def __init__(self, waiting: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "icdpo_requests", "Requests that ended.", ["endpoint", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "icdpo_request_seconds",
            "From the request to the end of its response.",
            ["endpoint"],
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300),
            registry=self.registry,
        )
        Gauge("icdpo_waiting", "Questions answered or waiting.", registry=self.registry).set_function(waiting)
        self._questions = Counter("icdpo_questions", "Questions answered.", registry=self.registry)
        self._candidates = Counter("icdpo_candidates", "Candidates sampled.", registry=self.registry)
        self._tokens = Counter("icdpo_tokens", "Tokens read and sampled.", ["kind"], registry=self.registry)
        self._batch_questions = Histogram(
            "icdpo_batch_questions", "Questions sampled together.", buckets=_BATCH, registry=self.registry
        )
        self._batch_candidates = Histogram(
            "icdpo_batch_candidates", "Candidates sampled together.", buckets=_BATCH, registry=self.registry
        )

    def answered(self, result: ICDPOResult) -> None:
        """Counts an answer."""
        self._questions.inc()
        self._candidates.inc(len(result.candidates))
        for kind in ("prompt", "contrast", "completion"):
            self._tokens.labels(kind).inc(getattr(result.usage, f"{kind}_tokens"))

    def batch(self, requests: int, rows: int) -> None:
        """Counts requests that a policy samples together; any thread may call it."""
        self._batch_questions.observe(requests)
        self._batch_candidates.observe(rows)

    def ended(self, endpoint: str, status: int, seconds: float) -> None:
        """Counts a request."""
        self._requests.labels(endpoint, str(status)).inc()
        self._seconds.labels(endpoint).observe(seconds)


class Observation:
    """Middleware that counts requests by endpoint and status.

    Args:
        app: the application that it wraps.
        metrics: the counters.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request; see ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            # By the route's template: a client's arbitrary path must not create a time series.
            endpoint = getattr(scope.get("route"), "path", "other")
            self._metrics.ended(endpoint, scope.get(STATUS, status), time.perf_counter() - began)


@router.get(
    "/metrics",
    response_class=Response,
    responses={**documented(), 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """What Prometheus scrapes."""
    own: Metrics = request.app.state.service.metrics
    return Response(generate_latest(own.registry), media_type=CONTENT_TYPE_LATEST)
