"""`icdpo distill`."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from icdpo_chains import read_demonstrations
from icdpo_chains.cli.commands import distill

TEACHER = """
from types import SimpleNamespace

asked = []

class Teacher:
    def invoke(self, messages):
        asked.append(messages[-1][1])
        if "bad" in messages[-1][1]:
            raise ConnectionError("gone\\nfor good")
        if "stop" in messages[-1][1]:
            raise KeyboardInterrupt
        return SimpleNamespace(content=f"About {messages[-1][1]}")
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "teachers_for_a_test.py").write_text(TEACHER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "teachers_for_a_test", raising=False)
    app = typer.Typer()
    app.callback()(lambda: None)
    distill.register(app)
    teacher = ("--teacher", "teachers_for_a_test.py:Teacher", "--out", "out.jsonl")
    return lambda *arguments: CliRunner().invoke(app, ["distill", *arguments, *teacher])


def test_prompts_become_demonstrations(run: Any, fakes: list[Any]) -> None:
    Path("prompts.txt").write_text("cats\n\nCATS\ndogs\nbirds\n")
    done = run("prompts.txt", "--limit", "3", "--seed", "4", "--model", "some/model")
    assert done.exit_code == 0, done.output
    assert done.stdout == (
        "out.jsonl: 2 added, 0 already there, 1 duplicates, 0 without a difference, 0 failed, 0 rows refused\n"
    )
    cats, dogs = read_demonstrations("out.jsonl")
    assert (cats.prompt, cats.chosen, dogs.chosen) == ("cats", "About cats", "About dogs")
    assert cats.rejected
    assert cats.metadata == {
        "source": "icdpo distill",
        "teacher": "teachers_for_a_test.py:Teacher",
        "policy": "fake",
        "seed": 4,
    }
    assert fakes[0]["model"] == "some/model"


def test_failures_are_listed_and_the_same_command_goes_on(run: Any) -> None:
    Path("prompts.jsonl").write_text('{"prompt": "cats"}\n{"prompt": "bad"}\n{"no": 1}\n')
    done = run("prompts.jsonl")
    assert done.exit_code == 1
    assert "prompt 2: the teacher failed: ConnectionError: gone for good\n" in done.stdout
    assert "prompts.jsonl:3: " in done.stdout
    assert done.stderr == "icdpo: 1 prompt failed: the same command tries again\n"
    Path("prompts.jsonl").write_text('{"prompt": "cats"}\n{"prompt": "good"}\n')
    again = run("prompts.jsonl", "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout) == {
        "file": "out.jsonl",
        "added": 1,
        "already_there": 1,
        "duplicates": 0,
        "skipped": 0,
        "failed": [],
        "refused": [],
    }
    assert sys.modules["teachers_for_a_test"].asked.count("cats") == 1


def test_interrupted_it_says_what_there_is(run: Any) -> None:
    Path("prompts.txt").write_text("cats\nstop\ndogs\n")
    done = run("prompts.txt")
    assert done.exit_code == 130
    assert done.stdout.startswith("out.jsonl: 1 added")
    assert [made.prompt for made in read_demonstrations("out.jsonl")] == ["cats"]


def test_bad_input_is_one_line_before_anything_is_loaded(run: Any, fakes: list[Any]) -> None:
    Path("empty.txt").write_text("\n \n")
    Path("wrong.jsonl").write_text('{"question": "hi"}\n')
    for name, reason in [
        ("empty.txt", "no usable prompt"),
        ("wrong.jsonl", "wrong.jsonl:1: the columns"),
        ("nowhere.txt", "No such file"),
    ]:
        done = run(name)
        assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
        assert reason in done.stderr
    Path("prompts.txt").write_text("cats\n")
    assert run("prompts.txt", "--limit", "0").exit_code == 2
    assert run("prompts.txt", "--top-p", "7").exit_code == 2
    assert fakes == []


def test_a_teacher_that_can_not_be_loaded_is_one_line(tmp_path: Path, run: Any, fakes: list[Any]) -> None:
    Path("prompts.txt").write_text("cats\n")
    app = typer.Typer()
    app.callback()(lambda: None)
    distill.register(app)
    done = CliRunner().invoke(app, ["distill", "prompts.txt", "-t", "nothing:x", "-o", "o.jsonl"])
    assert (done.exit_code, done.stderr.count("\n"), fakes) == (1, 1, [])
    assert "nothing:x" in done.stderr
    assert not Path("o.jsonl").exists()
