"""`PageAccess`: access control of the page: a password, which browsers ask for by themselves."""

from __future__ import annotations

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from icdpo_chains.network import bears_key, gives_password

__all__ = ["PageAccess"]


class PageAccess:
    """Middleware that requires a key before anything of the page is answered.

    Browsers send it as the password of HTTP Basic authentication, with any user name; programs may send it as
    `Authorization: Bearer KEY`.

    Args:
        app: The application behind it.
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
