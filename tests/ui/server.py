"""A server of the page in a process of its own, which can be killed and started again."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

__all__ = ["PageServer"]


class PageServer:
    """A command that serves the page on a port of 127.0.0.1.

    Args:
        command: the command; `{port}` stands for the port.
        log: where its output goes.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._command = [part.replace("{port}", str(port)) for part in command]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def fake(cls, store: Path, log: Path, key: str | None = None) -> PageServer:
        """Returns a server of `fake_page.py`."""
        script = Path(__file__).with_name("fake_page.py")
        return cls([sys.executable, str(script), str(store), "{port}", *([key] if key else [])], log)

    @classmethod
    def real(cls, store: Path, log: Path, *options: str) -> PageServer:
        """Returns `icdpo ui` on the default model."""
        icdpo = [sys.executable, "-c", "from icdpo_chains.cli import main; main()", "ui"]
        return cls([*icdpo, "--port", "{port}", "--store", str(store), *options], log)

    def start(self, seconds: float = 180) -> None:
        """Starts it, and waits until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "HF_HUB_OFFLINE": "1",
                    "GRADIO_TEMP_DIR": str(self._log.parent / "uploads"),
                },
            )
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self._process.poll() is None, self._log.read_text()
            try:
                httpx.get(self.url, timeout=30)
            except httpx.TransportError:
                time.sleep(0.2)
            else:
                return
        raise TimeoutError(self._log.read_text())

    @property
    def output(self) -> str:
        """What it wrote so far."""
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """Kills it, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
