"""Batch jobs in processes of their own, which may be killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ICDPO = [sys.executable, "-c", "from icdpo_chains.cli import main; main()"]
FAKE_JOB = Path(__file__).with_name("fake_job.py")
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    # So Ray stays on the loopback address, whatever else the machine has.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a command, with all that it starts itself in one group, which is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(*command: str | Path, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**ENVIRONMENT, **environment},
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def fake_job(start: Start) -> Start:
    """Starts `fake_job.py` with these arguments."""
    return lambda *arguments: start(sys.executable, FAKE_JOB, *arguments)


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text("".join(f"Question {i}?\n" for i in range(1, 321)))
    return path


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """What one machine writes that nobody disturbs, by row."""
    place = tmp_path_factory.mktemp("expected")
    (place / "prompts.txt").write_text("".join(f"Question {i}?\n" for i in range(1, 321)))
    command = [
        sys.executable,
        FAKE_JOB,
        "local",
        place / "prompts.txt",
        place / "out.jsonl",
        "--seconds",
        "0",
    ]
    subprocess.run(list(map(str, command)), check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    return by_row(place / "out.jsonl")


def by_row(out: Path) -> dict[int, dict[str, Any]]:
    """The records of a finished output, by row, less the process that made them; each row is there once."""
    records = [json.loads(line) for line in out.read_text("ascii").splitlines()]
    for record in records:
        record["icdpo"].pop("model")
    rows = {record["row"]: record for record in records}
    assert len(rows) == len(records)
    return rows


def ended(process: subprocess.Popen[str], seconds: float = 300) -> str:
    """What a process has written until its end."""
    out, error = process.communicate(timeout=seconds)
    return f"{out}\n{error}"
