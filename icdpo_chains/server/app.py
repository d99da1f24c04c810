"""The application, put together."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, FastAPI, Security
from fastapi.security import HTTPBearer

import icdpo_chains
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.icdpo import ICDPO
from icdpo_chains.server import errors, metrics
from icdpo_chains.server.endpoints import (
    chat,
    completions,
    demonstrations,
    feedback,
    health,
    models,
    root,
    scores,
)
from icdpo_chains.server.limits import ServerLimits
from icdpo_chains.server.middleware.access_log import AccessLog
from icdpo_chains.server.middleware.authentication import Authentication, LoopbackOnly
from icdpo_chains.server.middleware.body_limit import BodyLimit
from icdpo_chains.server.middleware.foreign_pages import NoForeignPages
from icdpo_chains.server.middleware.shutdown import CancelledByShutdown
from icdpo_chains.server.queue import Queue
from icdpo_chains.server.recent_answers import RecentAnswers
from icdpo_chains.server.service import Service

__all__ = ["build_app"]


def build_app(
    icdpo: ICDPO,
    model_name: str | None,
    api_key: str | None,
    store: DemonstrationStore | None,
    limits: ServerLimits,
) -> FastAPI:
    """Builds the application; see `create_app`."""
    if api_key is not None and not api_key.strip():
        raise ValueError("the API key is blank: give one, or None for no authentication")
    for own, most, name in (
        (icdpo.n, limits.max_candidates, "max_candidates"),
        (icdpo.k or 0, limits.max_demonstrations, "max_demonstrations"),
        (icdpo.sampling.max_new_tokens, limits.max_tokens, "max_tokens"),
    ):
        if own > most:
            raise ValueError(
                f"each question asks for {own} by default, and {name} is {most}: raise the limit, or lower "
                "the default"
            )
    # Swagger's page would load files from another host; the schema itself is at /openapi.json.
    app = FastAPI(
        title="icdpo-chains",
        version=icdpo_chains.__version__,
        docs_url=None,
        redoc_url=None,
        default_response_class=errors.ASCIIResponse,
    )
    queue = Queue(limits.max_waiting, limits.request_timeout)
    counted = metrics.Metrics(lambda: queue.taken)
    app.state.service = Service(
        icdpo=icdpo,
        model_name=model_name or icdpo.policy.name,
        store=store,
        limits=limits,
        queue=queue,
        metrics=counted,
        answers=RecentAnswers(),
        created=int(time.time()),
    )
    if hasattr(icdpo.policy, "on_batch"):
        icdpo.policy.on_batch = counted.batch
    # The middleware requires the key; this describes it to OpenAPI.
    locked = [] if api_key is None else [Security(HTTPBearer(auto_error=False))]
    for module in (chat, completions, scores, models, demonstrations, feedback, metrics):
        router: APIRouter = module.router
        app.include_router(router, dependencies=locked)
    app.include_router(root.router, dependencies=locked)
    app.include_router(health.router)
    errors.install(app)
    _describe_errors(app)
    app.add_middleware(CancelledByShutdown, queue=queue)
    app.add_middleware(BodyLimit, most=limits.max_body_bytes, seconds=limits.body_timeout)
    app.add_middleware(NoForeignPages)
    if api_key is None:
        app.add_middleware(LoopbackOnly)
    else:
        app.add_middleware(Authentication, key=api_key.strip())
    app.add_middleware(metrics.Observation, metrics=counted)
    app.add_middleware(AccessLog)  # the last is the outermost
    return app


def _describe_errors(app: FastAPI) -> None:
    """Removes FastAPI's response to invalid requests (422) from the schema; ours is 400."""
    generate = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = generate()
            for path in schema["paths"].values():
                for operation in path.values():
                    content = operation["responses"].get("422", {}).get("content", {})
                    if "HTTPValidationError" in str(content):
                        del operation["responses"]["422"]
            for name in ("HTTPValidationError", "ValidationError"):
                schema["components"]["schemas"].pop(name, None)
        return app.openapi_schema or {}

    app.openapi = described  # type: ignore[method-assign]
