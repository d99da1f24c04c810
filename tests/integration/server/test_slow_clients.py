"""Clients that send half of a request, on a real connection."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from icdpo_chains.foundation.network import bind
from icdpo_chains.server import create_app, timed_protocol, uvicorn_server
from tests.unit.fake_core import make_core

HEADERS = b"Host: 127.0.0.1\r\nConnection: keep-alive\r\n\r\n"


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(timed_protocol, "HEADER_SECONDS", 0.5)
    bound = bind("127.0.0.1", 0)
    app, ready = create_app(make_core()), threading.Event()
    address = bound.getsockname()
    server = threading.Thread(target=uvicorn_server.serve, args=(app, bound, ready.set), daemon=True)
    server.start()
    assert ready.wait(20)
    yield address
    app.state.service.queue.closing = True
    server.join(30)
    assert not server.is_alive()


def closed_after(client: socket.socket) -> float:
    began = time.monotonic()
    client.settimeout(20)
    while client.recv(1 << 16):
        pass
    return time.monotonic() - began


def read_response(client: socket.socket) -> bytes:
    """One whole response: its headers and its body may come in separate packets."""
    received = b""
    while not received.endswith(b'{"status":"ok"}'):
        packet = client.recv(1 << 16)
        assert packet, received
        received += packet
    return received


def test_half_sent_headers_are_not_waited_for(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as silent, socket.create_connection(address) as half:
        half.sendall(b"GET /health HTTP/1.1\r\nHost: 127.")
        assert closed_after(half) < 10
        assert closed_after(silent) < 10


def test_a_later_request_of_a_connection_has_its_own_time(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as client:
        for _ in range(3):
            client.sendall(b"GET /health HTTP/1.1\r\n" + HEADERS)
            client.settimeout(20)
            assert read_response(client).startswith(b"HTTP/1.1 200")
            time.sleep(0.7)  # idle between requests: uvicorn's own, longer limit
        client.sendall(b"GET /health HT")
        assert closed_after(client) < 10
