"""Access control: clients with the key or, without a key, programs on this machine."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from icdpo_chains.foundation.network import bears_key, is_loopback, requested_host
from icdpo_chains.server.endpoints.health import PATH
from icdpo_chains.server.errors import APIError

__all__ = ["Authentication", "LoopbackOnly"]


class Authentication:
    """Middleware that requires a key (`Authorization: Bearer KEY`) before it reads a body.

    Args:
        app: the application that it wraps.
        key: the key.
    """

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app, self._key = app, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request; see ASGI."""
        if scope["type"] != "http" or scope["path"] == PATH or bears_key(scope["headers"], self._key):
            await self._app(scope, receive, send)
            return
        error = APIError(
            401,
            "the API key is missing or wrong: send it as `Authorization: Bearer KEY`",
            code="invalid_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )
        await error.response()(scope, receive, send)


class LoopbackOnly:
    """Middleware that answers only requests to a loopback address.

    A web page can make its own name resolve to this machine (DNS rebinding), but its requests still carry
    that name.

    Args:
        app: the application that it wraps.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request; see ASGI."""
        if scope["type"] != "http" or is_loopback(requested_host(scope["headers"])):
            await self._app(scope, receive, send)
            return
        error = APIError(
            403,
            "without an API key, this server answers requests to localhost, 127.0.0.1 or [::1] only: use one "
            "of these addresses, or start it with a key",
            code="host_not_allowed",
        )
        await error.response()(scope, receive, send)
