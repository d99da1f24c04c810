"""Real Chroma servers on loopback, which can be killed, and a proxy that asks for a token."""

from __future__ import annotations

import contextlib
import http.server
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from icdpo_chains import DemonstrationStore, FakeEmbedder


class ChromaServer:
    """`chroma run` on a port of its own, which it keeps when it is started again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    def start(self) -> None:
        chroma = str(Path(sys.executable).with_name("chroma"))
        command = [chroma, "run", "--host", "127.0.0.1", "--port", str(self.port)]
        with (self.path / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--path", self.path / "data"], stdout=log, stderr=log, cwd=self.path
            )
        for _ in range(600):
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{self.port}/api/v2/heartbeat").is_success:
                    return
            assert self._process.poll() is None, (self.path / "server.log").read_text()
            time.sleep(0.1)
        pytest.fail("the server does not answer")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart_after(self, seconds: float) -> threading.Thread:
        """Kills it at once, and starts it again in a thread."""
        self.kill()
        again = threading.Thread(target=lambda: (time.sleep(seconds), self.start()))
        again.start()
        return again

    def connect(self, collection: str, **options: Any) -> DemonstrationStore:
        options = {"port": self.port, "embedder": FakeEmbedder(), **options}
        return DemonstrationStore.connect(collection=collection, **options)


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
