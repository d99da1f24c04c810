"""`icdpo eval report`."""

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from icdpo_chains import Message
from icdpo_chains.cli.commands.eval import report
from icdpo_chains.evaluation.system_answers import SystemAnswer
from icdpo_chains.foundation.jsonl import ResumableFile

HOSTILE = "[bold]x[/bold] \x1b[2J :smile:"


@pytest.fixture
def run() -> Any:
    """Runs the subcommand alone."""
    app = typer.Typer()
    app.callback()(lambda: None)
    report.register(app)
    return lambda *arguments: CliRunner().invoke(
        app, ["report", *map(str, arguments)], env={"COLUMNS": "200"}
    )


@pytest.fixture
def files(tmp_path: Path) -> Path:
    answers, judgments = tmp_path / "answers.jsonl", tmp_path / "judgments.jsonl"
    with ResumableFile(answers, {"model": "tiny"}) as file, ResumableFile(judgments, {}) as judged:
        for i, system in enumerate(("base", "icdpo", HOSTILE)):
            item = SystemAnswer(system, "p", (Message("user", "hi"),), "hello you", "ref", 1.5, 20)
            file.append(item.key, item.to_dict())
            judged.append(item.key, {"reward": float(i)})
    return tmp_path


def test_the_table_is_shown_and_both_files_are_written(run: Any, files: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "report"
    result = run(files, "--out", out)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.index("ICDPO (S)") < result.stdout.index("│ Base")
    assert "2.000 (2.000 to 2.000)" in result.stdout
    assert "[bold]x[/bold]" in result.stdout
    assert "\x1b[2J" not in result.stdout
    assert "<!DOCTYPE html>" in (out / "report.html").read_text()
    assert "| ICDPO (S) | 1 | 1.000" in (out / "report.md").read_text()
    assert str(out / "report.html") in result.stderr


def test_judgments_of_other_answers_are_one_line(run: Any, files: Path, tmp_path: Path) -> None:
    with ResumableFile(files / "judgments.jsonl", {}) as file:
        file.append("icdpo/elsewhere", {"reward": 1.0})
    result = run(files, "--out", tmp_path / "report")
    assert result.exit_code == 1
    assert "judgments.jsonl: there is a judgment of 'icdpo/elsewhere'" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "report").exists()


def test_a_missing_file(run: Any) -> None:
    result = run("nowhere")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "nowhere has no answers.jsonl: make it with `icdpo eval generate --out nowhere`" in result.stderr


def test_a_negative_number_of_samples_is_a_usage_error(run: Any, files: Path) -> None:
    assert run(files, "--samples", "-1").exit_code == 2
