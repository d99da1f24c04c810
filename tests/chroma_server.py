"""A real Chroma server on loopback, which can be killed and started again."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx

from icdpo_chains import DemonstrationStore, FakeEmbedder

__all__ = ["ChromaServer"]


class ChromaServer:
    """`chroma run` on a port of its own, which it keeps when it is started again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    def start(self) -> None:
        """Starts it, and waits until it answers."""
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
        raise AssertionError("the server does not answer")

    def kill(self) -> None:
        """Ends it at once; it can be started again."""
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
        """Returns a store there, with a fake embedder where none is given."""
        options = {"port": self.port, "embedder": FakeEmbedder(), **options}
        return DemonstrationStore.connect(collection=collection, **options)
