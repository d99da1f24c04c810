"""`icdpo score`."""

import json
from pathlib import Path
from typing import Any

import pytest

KIND, RUDE = "I am sorry. Shall we talk?", "Whatever. Your own fault."


def test_the_better_answer_stands_first(icdpo: Any) -> None:
    run = icdpo("score", "My dog is ill.", RUDE, KIND, "--json")
    assert [candidate["text"] for candidate in json.loads(run.stdout)["candidates"]] == [KIND, RUDE]
    shown = icdpo("score", "My dog is ill.", RUDE, KIND).stdout
    assert shown.index(KIND) < shown.index(RUDE)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.json", json.dumps([RUDE, KIND])), ("a.txt", f"\ufeff{RUDE}\r\n\r\n{KIND}\r\n")],
)
def test_answers_may_stand_in_a_file(icdpo: Any, tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8", newline="")
    run = icdpo("score", "My dog is ill.", "--file", str(file), "--json")
    assert [candidate["index"] for candidate in json.loads(run.stdout)["candidates"]] == [1, 0]


@pytest.mark.parametrize("content", [b'["one", 2]', b'{"one": 1}', b'["one"', b"\xff\xfe"])
def test_a_file_that_holds_no_answers(icdpo: Any, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "answers.json"
    file.write_bytes(content)
    run = icdpo("score", "hi", "--file", str(file))
    assert run.exit_code == 1
    assert "answers.json" in run.stderr
    assert run.stderr.count("\n") == 1


def test_a_missing_file(icdpo: Any) -> None:
    run = icdpo("score", "hi", "--file", "nowhere.json")
    assert (run.exit_code, run.stderr) == (1, "icdpo: nowhere.json: No such file or directory\n")


def test_no_answers_is_a_usage_error(icdpo: Any) -> None:
    assert icdpo("score", "hi").exit_code == 2
