"""Access control of the page: a password, which browsers ask for by themselves, and no foreign content."""

from __future__ import annotations

import re

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from icdpo_chains.foundation.network import bears_key, from_foreign_page, gives_password

__all__ = ["OwnOrigin", "PageAccess"]

# Gradio compiles its templates in the browser, hence 'unsafe-eval'; its scripts and styles are in the page.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_SAFE = {"GET", "HEAD", "OPTIONS"}
_FETCHED = re.compile(r"/(?:file|proxy)[=/]\s*https?:", re.IGNORECASE)
"""Paths of Gradio's that make the server fetch a URL."""


class OwnOrigin:
    """Middleware that keeps the page to its own origin.

    The browser loads nothing from other hosts, whatever a text of a model or of a person contains, and the
    server fetches nothing for it. No page of another origin may send anything to this one, or show it in a
    frame.

    Args:
        app: The application that it wraps.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request; see ASGI."""
        if scope["method"] not in _SAFE and from_foreign_page(scope["headers"]):
            refusal = PlainTextResponse("A web page of another origin sent this request.\n", 403)
            await refusal(scope, receive, send)
            return
        if _FETCHED.search(scope["path"]):
            refusal = PlainTextResponse("The page fetches nothing from other hosts.\n", 403)
            await refusal(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, guarded)


class PageAccess:
    """Middleware that requires a key before anything of the page is answered.

    Browsers send it as the password of HTTP Basic authentication, with any user name; programs may send it as
    `Authorization: Bearer KEY`.

    Args:
        app: The application that it wraps.
        key: The key.
    """

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app, self._key = app, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request; see ASGI."""
        headers = scope["headers"]
        if gives_password(headers, self._key) or bears_key(headers, self._key):
            await self._app(scope, receive, send)
            return
        response = PlainTextResponse(
            "The page needs the server's key: give it as the password, with any user name.\n",
            401,
            {"WWW-Authenticate": 'Basic realm="icdpo: the password is the API key", charset="UTF-8"'},
        )
        await response(scope, receive, send)
