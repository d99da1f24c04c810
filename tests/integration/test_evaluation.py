"""The evaluation as users run it: its own process, the default model, the starter set."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import icdpo_chains

pytestmark = pytest.mark.slow

STARTER = Path(icdpo_chains.__file__).parent / "demonstrations" / "starter.jsonl"
ICDPO = [sys.executable, "-c", "from icdpo_chains.cli import main; main()"]


def icdpo(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*ICDPO, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "160"},
        timeout=600,
    )


def test_a_run_tells_good_systems_from_bad_ones(tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    some = [part for name in ("base", "icdpo_retrieved", "oracle_of_n") for part in ("--system", name)]
    small = ("--prompts", "3", "--n", "2", "--max-tokens", "24", "--no-variants")
    made = icdpo("eval", "generate", str(STARTER), "--out", out, *some, *small)
    assert (made.returncode, made.stderr) == (0, "")
    judged = icdpo("eval", "judge", out)
    assert (judged.returncode, judged.stderr) == (0, "")
    settings = json.loads((tmp_path / "run" / "judgments.jsonl").read_text().splitlines()[0])["settings"]
    assert settings["reward_accuracy"] > 0.7, "the starter set's manner is easy to tell"
    report = icdpo("eval", "report", out)
    assert report.returncode == 0, report.stderr
    assert "ICDPO (S^) + retriever" in report.stdout
    rows = [json.loads(line) for line in (tmp_path / "run" / "judgments.jsonl").read_text().splitlines()[1:]]
    rewards: dict[str, list[float]] = {}
    for row in rows:
        rewards.setdefault(row["key"].partition("/")[0], []).append(row["reward"])
    assert sum(rewards["oracle_of_n"]) >= sum(rewards["icdpo_retrieved"]), "the oracle is a ceiling"


def test_preference_accuracy_of_the_starter_set(tmp_path: Path) -> None:
    plot = tmp_path / "calibration.svg"
    run = icdpo(
        "eval",
        "accuracy",
        str(STARTER),
        "--pairs",
        "4",
        "--retriever",
        "two_stage",
        "--plot",
        str(plot),
        "--json",
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    assert found
    assert plot.read_text().lstrip().startswith("<?xml")
