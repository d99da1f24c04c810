"""`/health`: whether the server takes questions."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from icdpo_chains.server.errors import APIError, documented
from icdpo_chains.server.service import Service

__all__ = ["PATH", "router"]

PATH = "/health"
"""Open to all: what asks here, a load balancer, has no key."""

router = APIRouter(tags=["operation"])


class Health(BaseModel):
    """The server takes questions."""

    status: Literal["ok"] = "ok"


@router.get(PATH, responses=documented(503))
async def health(request: Request) -> Health:
    """Says that the server takes questions; 503 while it shuts down."""
    if Service.of(request).queue.closing:
        raise APIError(503, "the server shuts down", code="shutting_down")
    return Health()
