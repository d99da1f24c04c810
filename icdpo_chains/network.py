"""Where a server listens, and whose requests it takes: addresses, and the key."""

from __future__ import annotations

import errno
import hmac
import ipaddress
import socket
from collections.abc import Iterable

from icdpo_chains.errors import ICDPOError

__all__ = ["base_url", "bears_key", "bind", "is_loopback"]


def is_loopback(host: str) -> bool:
    """Says whether a name or address can only mean this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind(host: str, port: int) -> socket.socket:
    """Takes an address, before anything is loaded that takes long; clients can't connect yet.

    Raises:
        ICDPOError: it can't be had.
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


def bears_key(headers: Iterable[tuple[bytes, bytes]], key: str) -> bool:
    """Says whether a request has the key, as `Authorization: Bearer KEY`; compared in constant time.

    Args:
        headers: of the request, as ASGI has them.
        key: the key.
    """
    sent = next((value for name, value in headers if name == b"authorization"), b"")
    scheme, _, given = sent.partition(b" ")
    return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), key.encode())
