"""`/v1/demonstrations`: reads and changes the demonstrations. Off unless the server has a store for it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import DemonstrationError
from icdpo_chains.server.errors import APIError, documented
from icdpo_chains.server.protocol.requests import ChatMessage, Filled, RequestBody, to_conversation
from icdpo_chains.server.service import Service

__all__ = ["router"]

router = APIRouter(tags=["demonstrations"])

_Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="A demonstration's id.")]


class NewDemonstration(RequestBody):
    """A prompt with the better answer, the worse one, or both."""

    prompt: Filled | Annotated[list[ChatMessage], Field(min_length=1)]
    chosen: Filled | None = None
    rejected: Filled | None = None
    metadata: dict[str, Any] | None = None

    def demonstration(self) -> Demonstration:
        """Returns it in the core's type.

        Raises:
            DemonstrationError, InvalidInputError: it can't be used.
        """
        prompt = self.prompt if isinstance(self.prompt, str) else to_conversation(self.prompt)
        return Demonstration(prompt, self.chosen, self.rejected, self.metadata)


class StoredDemonstration(BaseModel):
    """A stored demonstration; `similarity` is the cosine to the query."""

    id: str
    prompt: str | list[dict[str, str]]
    chosen: str | None = None
    rejected: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    similarity: float | None = None

    @classmethod
    def of(cls, item: Demonstration, similarity: float | None = None) -> StoredDemonstration:
        """Returns the response for a demonstration of the core."""
        return cls(id=item.id, similarity=similarity, **item.to_dict())


class DemonstrationList(BaseModel):
    """Some demonstrations, and the number of all demonstrations in the store."""

    object: Literal["list"] = "list"
    data: list[StoredDemonstration]
    total: int


class Added(BaseModel):
    """The numbers of new, updated and known demonstrations, and their ids in the request's order.

    A thumb up and a thumb down of the same prompt are kept as one pair, with one id.
    """

    added: int
    updated: int
    unchanged: int
    ids: list[str]


class Removed(BaseModel):
    """The confirmation of a removal."""

    id: str
    deleted: Literal[True] = True


@router.post("/v1/demonstrations", responses=documented(415, 503))
async def add(
    request: Request, body: Annotated[list[NewDemonstration], Field(min_length=1, max_length=10_000)]
) -> Added:
    """Adds all demonstrations, or none if one of them is invalid."""
    store, items = _store(request), []
    for i, given in enumerate(body):
        try:
            items.append(given.demonstration())
        except ValueError as error:
            raise DemonstrationError(f"demonstration {i}: {error}") from None
    report = await run_in_threadpool(store.add, items)
    return Added(
        added=report.added,
        updated=report.updated,
        unchanged=report.unchanged,
        ids=[report.places.get(item.id, item.id) for item in items],
    )


@router.get("/v1/demonstrations", responses=documented(503))
async def search(
    request: Request,
    query: Annotated[str | None, Query(description="Find those whose prompts are similar to this.")] = None,
    k: Annotated[int, Query(ge=1, le=1000, description="How many are found.")] = 10,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many are listed, without a query.")] = 100,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1, description="Those before are left out.")] = 0,
) -> DemonstrationList:
    """Finds demonstrations, most similar first, or lists them in the order of insertion."""
    store = _store(request)
    found: list[tuple[Demonstration, float | None]]
    if query is not None:
        found = [*await run_in_threadpool(store.search, query, k)]
    else:
        found = [(item, None) for item in await run_in_threadpool(store.list, limit=limit, offset=offset)]
    total = await run_in_threadpool(len, store)
    return DemonstrationList(data=[StoredDemonstration.of(*item) for item in found], total=total)


@router.get("/v1/demonstrations/{id}", responses=documented(404, 503))
async def get(request: Request, id: _Id) -> StoredDemonstration:
    """Returns a demonstration."""
    for item in await run_in_threadpool(_store(request).get, id):
        return StoredDemonstration.of(item)
    raise _unknown(id)


@router.delete("/v1/demonstrations/{id}", responses=documented(404, 503))
async def remove(request: Request, id: _Id) -> Removed:
    """Removes a demonstration."""
    if not await run_in_threadpool(_store(request).remove, id):
        raise _unknown(id)
    return Removed(id=id)


def _store(request: Request) -> DemonstrationStore:
    return Service.of(request).writable_store()


def _unknown(id_: str) -> APIError:
    return APIError(404, f"there is no demonstration {id_}", code="demonstration_not_found", param="id")
