"""One machine: a job that is killed with SIGKILL, and one whose disk is full."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path
from typing import Any

from .conftest import ICDPO, Start, by_row, ended


def test_killed_and_started_again_each_row_is_there_once(
    fake_job: Start, prompts: Path, tmp_path: Path, expected: dict[int, Any]
) -> None:
    draw, out = random.Random(5), tmp_path / "out.jsonl"
    acknowledged = 0
    for _ in range(4):
        job = fake_job("local", prompts, out, "--seconds", "0.005")
        assert job.stdout is not None
        # At least a few chunks; then at any moment, in the middle of a line as well.
        for _ in range(5):
            said = job.stdout.readline()
        time.sleep(0.2 * draw.random())
        job.send_signal(signal.SIGKILL)
        added = [int(line) for line in (said, *job.communicate()[0].splitlines()) if line.strip().isdigit()]
        acknowledged += added[-1]
        assert out.read_bytes().count(b"\n") >= acknowledged
        acknowledged = out.read_bytes().count(b"\n")
    last = fake_job("local", prompts, out, "--seconds", "0")
    assert f"done 320 {320 - acknowledged} 0" in ended(last)
    assert by_row(out) == expected
    assert list(by_row(out)) == list(range(1, 321))


def test_a_full_disk_is_said_and_made_room_for(
    fake_job: Start, prompts: Path, tmp_path: Path, expected: dict[int, Any]
) -> None:
    out = tmp_path / "out.jsonl"
    full = fake_job("local", prompts, out, "--seconds", "0", "--file-size", "50000")
    said = ended(full)
    assert full.returncode == 1
    assert f"ICDPOError: {out} can't be written (File too large)" in said
    content = out.read_bytes()
    assert content.endswith(b"}\n")
    assert 40_000 < len(content) <= 50_000
    there = content.count(b"\n")
    assert f"done 320 {320 - there} 0" in ended(fake_job("local", prompts, out, "--seconds", "0"))
    assert out.read_bytes().startswith(content)
    assert by_row(out) == expected


def test_the_command_with_the_real_model_killed_in_the_middle(start: Start, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    questions = ["How do I apologise?", "Why is the sky blue?", "My cat is ill.", "What is glass?"]
    prompts.write_text("".join(json.dumps({"prompt": question}) + "\n" for question in questions))

    def command(out: Path) -> Any:
        options = ("--n", "2", "--max-tokens", "16", "--chunk", "1", "--seed", "5", "--json")
        return start(*ICDPO, "batch", prompts, out, *options, ICDPO_STORE=str(tmp_path / "store"))

    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    assert json.loads(command(whole).communicate(timeout=300)[0])["added"] == 4
    job = command(killed)
    while not (killed.exists() and killed.stat().st_size):
        assert job.poll() is None, ended(job)
        time.sleep(0.02)
    job.send_signal(signal.SIGKILL)
    job.wait()
    there = killed.read_bytes().count(b"\n")
    again = json.loads(command(killed).communicate(timeout=300)[0])
    assert (again["already_there"], again["added"], again["failed"]) == (there, 4 - there, 0)
    assert [record["response"] for record in by_row(killed).values()] == [
        record["response"] for record in by_row(whole).values()
    ]
