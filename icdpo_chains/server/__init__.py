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
        icdpo: answers the questions. The application's metrics use its policy's `on_batch`, if there is one.
        model_name: the model's name for clients; by default the policy's name.
        api_key: required in each request except to `/health`. Without a key, the server answers only requests
            to a loopback address, on any interface.
        demonstrations: a store, open for writing, which clients may read and change under
            `/v1/demonstrations`.
        limits: the limits of a request.

    Raises:
        ICDPOError: FastAPI is not installed.
        ValueError: the key is blank, or the settings of `icdpo` exceed the limits.
    """
    with server_extra():
        from icdpo_chains.server.app import build_app
    return build_app(icdpo, model_name, api_key, demonstrations, limits or ServerLimits())


@contextmanager
def server_extra() -> Iterator[None]:
    """Turns a failed import of a package of the server into an error with the remedy.

    Raises:
        ICDPOError: the import failed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        raise ICDPOError(
            f'the server needs {error.name}, which is not installed: pip install "icdpo-chains[serve]"'
        ) from None
