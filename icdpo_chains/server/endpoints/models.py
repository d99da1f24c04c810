"""`/v1/models`: the server's only model."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from icdpo_chains.server.errors import documented
from icdpo_chains.server.service import Service

__all__ = ["router"]

router = APIRouter(tags=["models"])


class Model(BaseModel):
    """A model."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["icdpo-chains"] = "icdpo-chains"


class ModelList(BaseModel):
    """All models."""

    object: Literal["list"] = "list"
    data: list[Model]


@router.get("/v1/models", responses=documented())
async def models(request: Request) -> ModelList:
    """Lists the server's model."""
    return ModelList(data=[_model(Service.of(request))])


@router.get("/v1/models/{name:path}", responses=documented(404))
async def model(request: Request, name: str) -> Model:
    """Returns the model with this name, if the server has it."""
    service = Service.of(request)
    service.check_model(name)
    return _model(service)


def _model(service: Service) -> Model:
    return Model(id=service.model_name, created=service.created)
