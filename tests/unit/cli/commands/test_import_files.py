"""`icdpo import`."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

ROWS = [
    {"prompt": "Why is the sky blue?", "chosen": "Light scatters.", "rejected": "Dunno."},
    {"prompt": "Who are you?", "chosen": "A program.", "rejected": "Your boss. [bold]{x}"},
]
BAD = {"prompt": "same", "chosen": "same", "rejected": "same"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl.gz"
    text = "\ufeff" + "\r\n".join(json.dumps(row) for row in [ROWS[0], BAD, ROWS[1]])
    path.write_bytes(gzip.compress(text.encode()))
    return path


def test_the_second_time_adds_none(icdpo: Any, file: Path) -> None:
    first, again = icdpo("import", str(file)), icdpo("import", str(file))
    assert first.exit_code == again.exit_code == 0
    assert f"{file}: 2 read, 2 added, 0 updated, 0 already there, 1 refused" in first.stdout
    assert f"{file}: 2 read, 0 added, 0 updated, 2 already there, 1 refused" in again.stdout
    assert f"refused {file}:2: " in first.stdout


def test_json(icdpo: Any, file: Path) -> None:
    report = json.loads(icdpo("import", str(file), "--json").stdout)
    assert report["files"] == [{"file": str(file), "read": 2, "added": 2, "updated": 0, "already_there": 0}]
    assert [row["line"] for row in report["refused"]] == [2]


def test_many_refused_rows_are_counted_and_listed_on_demand(icdpo: Any, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in [ROWS[0]] + [BAD] * 15))
    run = icdpo("import", str(path))
    assert run.stdout.count("  refused ") == 10
    assert "and 5 more" in run.stdout
    assert icdpo("import", str(path), "-v").stdout.count("  refused ") == 15


def test_a_file_without_a_usable_row_is_an_error(icdpo: Any, tmp_path: Path, file: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text(json.dumps(BAD))
    run = icdpo("import", str(file), str(empty))
    assert run.exit_code == 1
    assert "2 added" in run.stdout
    assert "empty.jsonl: no row could be used" in run.stderr


def test_a_name_misspelt_imports_nothing(icdpo: Any, tmp_path: Path, file: Path) -> None:
    run = icdpo("import", str(file), str(tmp_path / "nowhere.jsonl"))
    assert run.exit_code == 1
    assert "nowhere.jsonl" in run.stderr
    assert "sky" not in icdpo("demos", "list").stdout


def test_what_was_written_before_an_error_is_reported(icdpo: Any, tmp_path: Path, file: Path) -> None:
    unknown = tmp_path / "unknown.jsonl"
    unknown.write_text('{"a": 1}')
    run = icdpo("import", str(file), str(unknown))
    assert run.exit_code == 1
    assert "2 added" in run.stdout
    assert "no known shape" in run.stderr


def test_a_truncated_file_keeps_what_stands_before(icdpo: Any, tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n" + json.dumps(ROWS[1])[:30])
    run = icdpo("import", str(path))
    assert run.exit_code == 0
    assert "1 added" in run.stdout
    assert "cut.jsonl:2" in run.stdout
