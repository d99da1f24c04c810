"""`NoForeignPages`: refuses changes by web pages of other origins."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from icdpo_chains.foundation.network import declares_json, from_foreign_page
from icdpo_chains.server.errors import APIError

__all__ = ["NoForeignPages"]

_SAFE = {"GET", "HEAD", "OPTIONS", "TRACE"}
"""The safe methods (RFC 9110, section 9.2.1)."""


class NoForeignPages:
    """Middleware that refuses requests which a browser sends for a web page of another origin.

    It does not rely on the framework: FastAPI below 0.132 reads bodies without a content type as JSON.

    Args:
        app: the application that it wraps.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request; see ASGI."""
        error = _refusal(scope) if scope["type"] == "http" else None
        await (self._app if error is None else error.response())(scope, receive, send)


def _refusal(scope: Scope) -> APIError | None:
    method, headers = scope["method"], scope["headers"]
    if method not in _SAFE and from_foreign_page(headers):
        return APIError(
            403,
            "a web page of another origin sent this request, and may change nothing here: send it from a "
            "program, or from a page of this server",
            code="foreign_origin",
        )
    # Browsers ask a server before they send PUT, PATCH or DELETE for a page of another origin.
    if method == "POST" and not declares_json(headers):
        return APIError(
            415,
            "the Content-Type is missing or is not JSON: send JSON, with Content-Type: application/json",
            code="not_json",
        )
    return None
