"""Sockets to listen at, and checks of a request's headers: its key, its host and the page that sent it."""

from __future__ import annotations

import base64
import binascii
import errno
import hmac
import ipaddress
import socket
from collections.abc import Iterable
from typing import TypeAlias
from urllib.parse import urlsplit

from icdpo_chains.errors import ICDPOError

__all__ = [
    "Headers",
    "base_url",
    "bears_key",
    "bind",
    "declares_json",
    "from_foreign_page",
    "gives_password",
    "is_loopback",
    "requested_host",
]

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
"""The headers of a request in ASGI's form: names in lower case."""


def is_loopback(host: str) -> bool:
    """Returns whether a name or an address always means this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind(host: str, port: int) -> socket.socket:
    """Binds a socket that does not listen yet, so that a model loads only if the address is free.

    Raises:
        ICDPOError: the address is in use, unknown or forbidden.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except BaseException:
            bound.close()
            raise
        return bound
    except OSError as error:
        why = "it is in use" if error.errno == errno.EADDRINUSE else str(error.strerror or error)
        raise ICDPOError(
            f"the server can't listen at {host} port {port}: {why}. Choose another by --host and --port"
        ) from None


def base_url(bound: socket.socket) -> str:
    """Returns the URL of a bound address, without a path."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def bears_key(headers: Headers, key: str) -> bool:
    """Returns whether a request has the key (`Authorization: Bearer KEY`), compared in constant time."""
    scheme, _, given = _value(headers, b"authorization").partition(b" ")
    return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), key.encode())


def gives_password(headers: Headers, key: str) -> bool:
    """Returns whether a request has the key as the password of Basic authentication (RFC 7617)."""
    scheme, _, given = _value(headers, b"authorization").partition(b" ")
    if scheme.lower() != b"basic":
        return False
    try:
        _, colon, password = base64.b64decode(given.strip(), validate=True).partition(b":")
    except binascii.Error:
        return False
    return bool(colon) and hmac.compare_digest(password, key.encode())


def requested_host(headers: Headers) -> str:
    """Returns the host that a request names, without its port; `""` if the request names no host."""
    host = _value(headers, b"host").decode("latin-1")
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def declares_json(headers: Headers) -> bool:
    """Returns whether a request declares its body as `application/json`.

    A web page can send any other type to a foreign server without asking first (a CORS "simple request").
    """
    declared = _value(headers, b"content-type").partition(b";")[0]
    return declared.strip().lower() == b"application/json"


def from_foreign_page(headers: Headers) -> bool:
    """Returns whether a web page of another origin sent a request.

    The rule is that of Go's `http.CrossOriginProtection`: `Sec-Fetch-Site`, which pages can't forge, decides
    if the browser sends it; otherwise `Origin` must have the host and port of `Host`. Programs that are no
    browsers send neither header.
    """
    headers = list(headers)
    site = _value(headers, b"sec-fetch-site").strip().lower()
    if site:
        return site not in (b"same-origin", b"none")
    origin = _value(headers, b"origin").decode("latin-1").strip()
    if not origin:
        return False
    host = _value(headers, b"host").decode("latin-1").strip()
    sender = _address(origin)
    return sender is None or sender != _address(f"{origin.partition('://')[0]}://{host}")


def _address(url: str) -> tuple[str, int | None] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname else None


def _value(headers: Headers, name: bytes) -> bytes:
    return next((value for known, value in headers if known == name), b"")
