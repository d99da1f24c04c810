"""`icdpo batch`, on one machine; `tests/scale/jobs` runs it on Ray."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from icdpo_chains import FakePolicy
from icdpo_chains.cli.commands import batch
from icdpo_chains.config import ICDPOConfig


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    Path("prompts.jsonl").write_text('{"prompt": "My cat is ill."}\n{"no": 1}\n{"prompt": "And now?"}\n')
    Path("good.txt").write_text("My cat is ill.\nAnd now?\n")
    app = typer.Typer()
    app.callback()(lambda: None)
    batch.register(app)
    return lambda *arguments: CliRunner().invoke(app, ["batch", *arguments])


def test_answers_are_written_and_summed_up(run: Any, fakes: list[Any]) -> None:
    done = run("good.txt", "out.jsonl", "--n", "2", "--seed", "3", "--model", "some/model")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("out.jsonl: 2 of 2 rows added, 0 already there, 0 failed; ")
    assert fakes == [{"model": "some/model", "dtype": None, "device": None}]
    first, second = map(json.loads, Path("out.jsonl").read_text().splitlines())
    assert (first["prompt"], second["prompt"]) == ("My cat is ill.", "And now?")
    assert first["response"] == "I am sorry. Shall we talk?"
    assert len(first["icdpo"]["candidates"]) == 2
    again = run("good.txt", "out.jsonl", "--n", "2", "--model", "some/model")
    assert again.exit_code == 0
    assert "0 of 2 rows added, 2 already there" in again.stdout
    assert len(fakes) == 1  # nothing to load it for


def test_failed_rows_make_the_exit_code_one(run: Any) -> None:
    done = run("prompts.jsonl", "out.jsonl", "--n", "2", "--json")
    assert done.exit_code == 1
    assert done.stderr == "icdpo: 1 row failed: out.jsonl says why, and --retry-failed answers again\n"
    said = json.loads(done.stdout)
    assert said.pop("seconds") > 0
    assert said.pop("rows_per_minute") > 0
    assert said == {"file": "out.jsonl", "rows": 3, "added": 3, "already_there": 0, "failed": 1}
    again = json.loads(run("prompts.jsonl", "out.jsonl", "--n", "2", "--json", "--retry-failed").stdout)
    assert (again["added"], again["already_there"], again["failed"]) == (1, 2, 1)


def test_interrupted_it_says_what_there_is(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopping(FakePolicy):
        def sample(self, context: Any, n: Any, sampling: Any) -> Any:
            if "now?" in self.tokenizer.decode(context):
                raise KeyboardInterrupt
            return super().sample(context, n, sampling)

    monkeypatch.setattr(ICDPOConfig, "build_policy", lambda _: Stopping(["I am sorry."]))
    done = run("good.txt", "out.jsonl", "--n", "1", "--chunk", "1")
    assert done.exit_code == 130
    assert done.stdout.startswith("out.jsonl: 1 of 2 rows added")
    assert [json.loads(line)["row"] for line in Path("out.jsonl").read_text().splitlines()] == [1]


def test_bad_arguments_are_answered_before_anything_is_loaded(run: Any, fakes: list[Any]) -> None:
    for arguments, said in [
        (("--chunk", "0"), "--chunk is 0"),
        (("--workers", "2"), "need --ray"),
        (("--ray-address", "auto"), "need --ray"),
        (("--vllm", "http://127.0.0.1:1", "--vllm", "http://127.0.0.1:2"), "need --ray"),
        (("--n", "0"), "n is 0"),
    ]:
        done = run("good.txt", "out.jsonl", *arguments)
        assert done.exit_code == 2
        assert said in " ".join(done.stderr.replace("│", " ").split())
    done = run("good.txt", "out.csv")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    done = run("missing.txt", "out.jsonl")
    assert (done.exit_code, done.stderr) == (1, "icdpo: missing.txt: No such file or directory\n")
    assert fakes == []


def test_other_settings_are_one_line(run: Any) -> None:
    assert run("good.txt", "out.jsonl", "--n", "2").exit_code == 0
    done = run("good.txt", "out.jsonl", "--n", "3")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "n: 2, now 3" in done.stderr


def test_ray_that_is_not_installed_is_named(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "icdpo_chains.batch.ray_dataset", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    done = run("good.txt", "out.jsonl", "--ray")
    assert done.exit_code == 1
    assert 'pip install "icdpo-chains[ray]"' in done.stderr
    assert not Path("out.jsonl").exists()
