"""`/`: the name of the server, and its endpoints."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

import icdpo_chains
from icdpo_chains.server.errors import documented, endpoints_of
from icdpo_chains.server.service import Service

__all__ = ["router"]

router = APIRouter(tags=["operation"])


class Root(BaseModel):
    """A description of the server."""

    name: str = "icdpo-chains"
    version: str = icdpo_chains.__version__
    model: str
    endpoints: list[str] = Field(description="The paths; `/openapi.json` describes them.")


@router.get("/", responses=documented())
async def root(request: Request) -> Root:
    """Describes the server: an OpenAI-compatible API for answers that follow demonstrations."""
    return Root(model=Service.of(request).model_name, endpoints=endpoints_of(request.app))
