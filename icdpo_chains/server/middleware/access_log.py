"""`AccessLog`: one line for each request, with its id and without any text of it."""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import secrets
import sys
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["AccessLog", "write_to_stderr"]

_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_HEADER = "x-request-id"
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}

_log = logging.getLogger(__name__)


class AccessLog:
    """Middleware that logs requests at the level INFO and adds `X-Request-ID` to each response.

    The log has the endpoint's template, such as `/v1/demonstrations/{id}`, and neither query nor body: these
    hold texts. A client may send its own `X-Request-ID` of at most 64 letters, digits, `_`, `.` and `-`.

    uvicorn takes the client's address from `X-Forwarded-For` if the request comes from this machine. A value
    that is no IP address is logged as "unknown", and a method that HTTP does not define as "other".

    Args:
        app: the application that it wraps.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request; see ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(_HEADER, "")
        name = given if _ID.fullmatch(given) else secrets.token_hex(8)
        fields: dict[str, str | int | float] = {
            "id": name,
            "client": _address(scope),
            "method": scope["method"] if scope["method"] in _METHODS else "other",
            "endpoint": "other",
            "status": 500,
            "seconds": 0.0,
        }

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                fields["status"] = message["status"]
                MutableHeaders(scope=message)[_HEADER] = name
            await send(message)

        began = time.perf_counter()
        try:
            await self._app(scope, receive, named)
        finally:
            fields["endpoint"] = getattr(scope.get("route"), "path", "other")
            fields["seconds"] = round(time.perf_counter() - began, 4)
            _log.info(
                "%(client)s %(method)s %(endpoint)s %(status)s %(seconds).3f s %(id)s",
                fields,
                extra={"request": fields},
            )


def _address(scope: Scope) -> str:
    try:
        return str(ipaddress.ip_address((scope.get("client") or ("", 0))[0].partition("%")[0]))
    except ValueError:
        return "unknown"


class _AsJson(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        return json.dumps({"time": now, **record.request})  # type: ignore[attr-defined]


def write_to_stderr(*, as_json: bool = False) -> None:
    """Writes the access log to standard error, as lines of text or of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_AsJson() if as_json else logging.Formatter("icdpo: %(message)s"))
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    _log.propagate = False
