"""`/health`: whether the server accepts questions."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from icdpo_chains.server.errors import APIError, documented
from icdpo_chains.server.service import Service

__all__ = ["PATH", "router"]

PATH = "/health"
"""Open to all: a load balancer has no key."""

router = APIRouter(tags=["operation"])


class Health(BaseModel):
    """The server takes questions."""

    status: Literal["ok"] = "ok"


@router.get(PATH, responses=documented(503))
async def health(request: Request) -> Health:
    """Reports that the server accepts questions; 503 during shutdown."""
    if Service.of(request).queue.closing:
        raise APIError(503, "the server shuts down", code="shutting_down")
    return Health()
