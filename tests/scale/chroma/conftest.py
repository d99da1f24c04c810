"""Real Chroma servers on loopback, which can be killed, and a proxy that asks for a token."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.chroma_server import ChromaServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ChromaServer]:
    server = ChromaServer(tmp_path)
    try:
        server.start()
        yield server
    finally:
        server.kill()


class Proxy(http.server.ThreadingHTTPServer):
    """Stands before a server; passes on what has the token.

    Attributes:
        fails: with these statuses the next requests are answered instead.
    """

    daemon_threads = True

    def __init__(self, server: ChromaServer, token: str) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.behind, self.token = f"http://127.0.0.1:{server.port}", token
        self.fails: list[int] = []
        self.client = httpx.Client(timeout=60)


class _Passing(http.server.BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != f"Bearer {self.server.token}":
            status, content = 401, b"<html>who are you?</html>"
        elif self.server.fails:
            status, content = self.server.fails.pop(0), b"<html>nobody behind me</html>"
        else:
            answer = self.server.client.request(
                self.command,
                self.server.behind + self.path,
                content=body,
                headers={"Content-Type": "application/json"},
            )
            status, content = answer.status_code, answer.content
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _pass

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def proxy(server: ChromaServer) -> Iterator[Proxy]:
    with Proxy(server, "s3cret-token") as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()
        proxy.client.close()
