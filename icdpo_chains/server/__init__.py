"""An OpenAI-compatible server over an `ICDPO`: `create_app`, and `icdpo serve`, which runs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from icdpo_chains.errors import ICDPOError
from icdpo_chains.server.limits import ServerLimits

if TYPE_CHECKING:
    from fastapi import FastAPI

    from icdpo_chains.demonstrations.store import DemonstrationStore
    from icdpo_chains.icdpo import ICDPO

__all__ = ["ServerLimits", "create_app", "server_extra"]

_EXTRA = ("fastapi", "prometheus_client", "starlette", "uvicorn")


def create_app(
    icdpo: ICDPO,
    *,
    model_name: str | None = None,
    api_key: str | None = None,
    demonstrations: DemonstrationStore | None = None,
    limits: ServerLimits | None = None,
) -> FastAPI:
    """Builds the ASGI application.

    Args:
        icdpo: answers. If its policy has an `on_batch`, the application's metrics listen to it.
        model_name: what clients call the model; the policy's own name by default.
        api_key: demanded of each request but `/health`. Without it only requests to a loopback address are
            answered, whatever interface the server listens at.
        demonstrations: a store, open for writing, that clients may read and change under
            `/v1/demonstrations`; without it they can't.
        limits: what a request may ask for.

    Raises:
        ICDPOError: FastAPI is not installed.
        ValueError: a blank key, or an `icdpo` whose own settings exceed the limits.
    """
    with server_extra():
        from icdpo_chains.server.app import build_app
    return build_app(icdpo, model_name, api_key, demonstrations, limits or ServerLimits())


@contextmanager
def server_extra() -> Iterator[None]:
    """Says how to install what the server needs, where an import fails for want of it.

    Raises:
        ICDPOError: it did.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        raise ICDPOError(
            f'the server needs {error.name}, which is not installed: pip install "icdpo-chains[serve]"'
        ) from None
