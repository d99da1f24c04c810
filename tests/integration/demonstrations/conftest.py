"""Other processes that use a store, with the fake embedder: a writer that can be asked, and whole scripts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains.demonstrations.demonstration import Demonstration

PREAMBLE = """
import json, sys
from icdpo_chains import Demonstration, DemonstrationStore
from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.demonstrations.retrievers.two_stage import TwoStageRetriever
from icdpo_chains.errors import ICDPOError
def row(i):
    return Demonstration(f"question {i} about w{i % 97}", f"good {i}", f"bad {i}", {"row": i})
def open_store(path, **options):
    return DemonstrationStore(path, embedder=FakeEmbedder(), **options)
"""
WRITER = """
store = open_store(sys.argv[1])
print(json.dumps("open"), flush=True)
for line in sys.stdin:
    name, begin, end = json.loads(line)
    rows = [row(i) for i in range(begin, end)]
    print(json.dumps(store.add(rows).added if name == "add" else store.remove([r.id for r in rows])), flush=True)
"""


def row(i: int) -> Demonstration:
    """The demonstration of this number, the same in each process."""
    return Demonstration(f"question {i} about w{i % 97}", f"good {i}", f"bad {i}", {"row": i})


class OtherProcess:
    """A Python process; speaks in lines of JSON."""

    def __init__(self, script: str, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PREAMBLE + script, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ask(self, *question: Any) -> Any:
        """Sends a line and returns the answer."""
        self.tell(*question)
        return self.read()

    def tell(self, *question: Any) -> None:
        """Sends a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()

    def read(self) -> Any:
        """Returns the next line."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._process.communicate()[1]
        return json.loads(line)

    def kill(self) -> list[Any]:
        """Kills it, which it can't notice, and returns what it had still said."""
        self._process.kill()
        lines = self._process.communicate()[0].split("\n")
        return [json.loads(line) for line in lines[:-1]]

    def finish(self) -> str:
        """Waits for its end; returns what it wrote."""
        out, err = self._process.communicate(timeout=60)
        assert self._process.returncode == 0, err
        return out


@pytest.fixture
def other_process() -> Iterator[Callable[..., OtherProcess]]:
    """Starts processes, and leaves none behind."""
    started: list[OtherProcess] = []

    def start(script: str, *arguments: object) -> OtherProcess:
        started.append(OtherProcess(script, *arguments))
        return started[-1]

    yield start
    for process in started:
        if process._process.poll() is None:
            process.kill()


@pytest.fixture
def writer(other_process: Callable[..., OtherProcess], tmp_path: Path) -> OtherProcess:
    """A process that has `tmp_path / "store"` open for writing: ask("add" or "remove", from, to)."""
    process = other_process(WRITER, tmp_path / "store")
    assert process.read() == "open"
    return process
