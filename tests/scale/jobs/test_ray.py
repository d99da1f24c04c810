"""Ray: a cluster of two nodes on this machine, of which something dies."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from .conftest import ICDPO, Start, by_row, ended


def workers(out: Path) -> Counter[str]:
    """How many rows each process has answered."""
    return Counter(json.loads(line)["icdpo"]["model"] for line in out.read_text().splitlines())


@pytest.mark.parametrize("kill", ["worker", "node"])
def test_what_dies_costs_no_row(
    fake_job: Start, prompts: Path, tmp_path: Path, expected: dict[int, Any], kill: str
) -> None:
    out = tmp_path / "out.jsonl"
    job = fake_job("cluster", prompts, out, "--kill", kill)
    said = ended(job)
    assert "done 320 320 0" in said
    assert by_row(out) == expected
    answered = workers(out)
    assert len(answered) >= 4
    if kill == "worker":
        (killed,) = re.findall(r"killed (\d+)", said)
        assert 0 < answered[killed] < 160


def test_workers_take_the_servers_of_a_pool_in_turn(fake_job: Start, prompts: Path, tmp_path: Path) -> None:
    out, pool = tmp_path / "out.jsonl", ["http://127.0.0.1:1", "http://127.0.0.1:2"]
    job = fake_job("ray", prompts, out, "--model", "m", "--vllm", pool[0], "--vllm", pool[1])
    assert "done 320 320 0" in ended(job)
    assert set(workers(out)) == set(pool)


def test_the_driver_is_killed_and_one_machine_goes_on(
    fake_job: Start, prompts: Path, tmp_path: Path, expected: dict[int, Any]
) -> None:
    out = tmp_path / "out.jsonl"
    job = fake_job("ray", prompts, out, "--seconds", "0.05")
    assert job.stdout is not None
    while (line := job.stdout.readline().strip()) not in {"40", "44"}:
        assert line, ended(job)
    job.send_signal(signal.SIGKILL)
    job.wait()
    there = out.read_bytes().count(b"\n")
    assert 40 <= there < 320
    assert f"done 320 {320 - there} 0" in ended(fake_job("local", prompts, out, "--seconds", "0"))
    assert by_row(out) == expected


def test_a_worker_that_can_not_be_built_stops_the_job(fake_job: Start, prompts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    job = fake_job("ray", prompts, out, "--model", "missing")
    said = ended(job)
    assert job.returncode == 1
    assert "ICDPOError: a worker can't go on: ICDPOError: the model 'missing' is not found" in said
    assert out.read_bytes() == b""


def test_a_cluster_that_is_not_there(start: Start, prompts: Path, tmp_path: Path) -> None:
    command = (*ICDPO, "batch", prompts, tmp_path / "o.jsonl", "--ray", "--ray-address", "127.0.0.1:1")
    job = start(*command)
    said = ended(job)
    assert job.returncode == 1
    assert "icdpo: the Ray cluster at '127.0.0.1:1' is not reached: " in said
