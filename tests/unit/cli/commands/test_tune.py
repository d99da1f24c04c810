"""`icdpo tune`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains import FakeEmbedder
from icdpo_chains.cli import options
from icdpo_chains.config import ICDPOConfig
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.evaluation.tuning import tuning
from icdpo_chains.messages import Conversation
from icdpo_chains.policies.policy import Policy


class Judge:
    name = "judge"

    def rewards(self, conversations: Sequence[Conversation], responses: Sequence[str]) -> list[float]:
        return [float(len(text)) for text in responses]


def fit(policy: Policy, rows: Sequence[Demonstration], seed: int) -> Judge:
    return Judge()


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "embedder", FakeEmbedder)
    monkeypatch.setattr(tuning, "_fit_reward", fit)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "pairs.jsonl"
    rows = [
        {
            "prompt": f"What about thing{i}?",
            "chosen": f"I am sorry about thing{i}.",
            "rejected": f"Whatever {i}.",
        }
        for i in range(60)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_it_writes_a_file_that_ask_reads(icdpo: Any, file: str, tmp_path: Path) -> None:
    out = tmp_path / "made" / "icdpo.json"
    run = icdpo(
        "tune", file, "--out", str(out), "--seed", "3", "-k", "2", "--n", "1", "--n", "2", "--minutes", "5"
    )
    assert run.exit_code == 0, run.stderr
    config = ICDPOConfig.read(out)
    assert config.n in (1, 2)
    assert (config.note["seed"], config.note["minutes"], config.note["files"]) == (3, 5, [file])
    assert f"n = {config.n}" in run.stdout
    assert str(out) in run.stdout.replace("\n", "")
    assert icdpo("ask", "My dog is ill.", "--config", str(out)).exit_code == 0


def test_a_check_of_the_current_directory_judges(
    icdpo: Any, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fakes: list[Any]
) -> None:
    (tmp_path / "house_checks.py").write_text("def kind(question, answer):\n    return 'sorry' in answer\n")
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "icdpo.json"
    run = icdpo("tune", file, "--out", str(out), "--n", "1", "--n", "2", "--check", "house_checks:kind")
    assert run.exit_code == 0, run.stderr
    # The fakes answer rudely first and kindly second.
    assert json.loads(out.read_text())["note"]["n"]["mean_rewards"].keys() == {"1", "2"}
    fakes.clear()
    wrong = icdpo("tune", file, "--out", str(tmp_path / "b.json"), "--check", "house_checks:rude")
    assert (wrong.exit_code, fakes) == (1, [])
    assert "no function 'rude'" in wrong.stderr


def test_json_is_the_file(icdpo: Any, file: str, tmp_path: Path) -> None:
    out = tmp_path / "icdpo.json"
    given = ["--n", "1", "--model", "org/m", "--store", str(tmp_path / "own"), "--json"]
    run = icdpo("tune", file, "--out", str(out), *given)
    assert json.loads(run.stdout) == json.loads(out.read_text())
    found = json.loads(run.stdout)
    assert (found["model"], found["store"]) == ("org/m", str((tmp_path / "own").resolve()))


def test_a_file_that_is_there_is_not_overwritten(
    icdpo: Any, file: str, tmp_path: Path, fakes: list[Any]
) -> None:
    (tmp_path / "icdpo.json").write_text("mine")
    run = icdpo("tune", file, "--out", str(tmp_path / "icdpo.json"))
    assert run.exit_code == 1
    assert "exists: remove it" in run.stderr
    assert (tmp_path / "icdpo.json").read_text() == "mine"
    assert fakes == []


def test_an_interruption_leaves_no_file(
    icdpo: Any, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> Judge:
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning, "_fit_reward", stop)
    run = icdpo("tune", file, "--out", str(tmp_path / "icdpo.json"))
    assert run.exit_code == 130
    assert not (tmp_path / "icdpo.json").exists()


@pytest.mark.parametrize(
    "wrong",
    [["--minutes", "0"], ["--minutes", "nan"], ["-k", "0"], ["-n", "1000"], ["--retriever", "best"]],
    ids=str,
)
def test_a_wrong_option_is_a_usage_error(icdpo: Any, file: str, fakes: list[Any], wrong: list[str]) -> None:
    run = icdpo("tune", file, *wrong)
    assert (run.exit_code, run.stdout) == (2, "")
    assert fakes == []


def test_too_few_pairs_are_one_line(icdpo: Any, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n')
    run = icdpo("tune", str(tmp_path / "a.jsonl"), "--out", str(tmp_path / "icdpo.json"))
    assert run.exit_code == 1
    assert "too few to tune with" in run.stderr
    assert run.stderr.count("\n") == 1
