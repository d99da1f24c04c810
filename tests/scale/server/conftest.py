"""Servers in processes of their own, which end with the test, whatever becomes of it."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[3]


class Server:
    """A server's process.

    Args:
        command: starts it; its address stands on a line of standard error.
    """

    def __init__(self, command: list[str]) -> None:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self._ready = threading.Event()
        self.url = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        if not self._ready.wait(120) or not self.url:
            self.kill()
            raise AssertionError("".join(self.lines))

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if not self.url and (found := re.search(r"http://127\.0\.0\.1:\d+/v1", line)):
                self.url = found[0]
                self._ready.set()
        self._ready.set()

    @property
    def root(self) -> str:
        return self.url.removesuffix("/v1")

    def metric(self, name: str, **headers: str) -> float:
        """The value of a metric; 0 where it is not there."""
        text = httpx.get(f"{self.root}/metrics", headers=headers).text
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def stop(self, sig: int = signal.SIGTERM) -> int:
        """Asks it to end; returns its exit status."""
        self.process.send_signal(sig)
        return self.process.wait(60)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """Starts the fake server with these arguments, or `icdpo` with `command=[...]`."""
    started: list[Server] = []

    def run(*arguments: str, command: list[str] | None = None) -> Server:
        fake = [sys.executable, "-m", "tests.scale.server.serve_fake", *arguments]
        started.append(Server(command or fake))
        return started[-1]

    yield run
    for server in started:
        server.kill()
