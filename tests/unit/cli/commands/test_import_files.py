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
    counts = {"read": 2, "added": 2, "updated": 0, "already_there": 0}
    shapes = {"shapes": {"explicit prompt (TRL)": 2}, "skipped": {}, "notes": {}}
    assert report["files"] == [{"file": str(file), **counts, **shapes, "failure": None}]
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


def test_a_file_of_an_unknown_shape_is_refused_once_and_the_others_are_read(
    icdpo: Any, tmp_path: Path, file: Path
) -> None:
    unknown, sheet = tmp_path / "unknown.jsonl", tmp_path / "sheet.xlsx"
    unknown.write_text('{"a": 1}\n{"a": 2}\n')
    sheet.write_bytes(b"PK\x03\x04")
    run = icdpo("import", str(unknown), str(sheet), str(file))
    assert run.exit_code == 1
    assert "2 added" in run.stdout
    assert run.stderr.count("no known shape") == 1
    assert "Excel workbook" in run.stderr
    assert "sky" in icdpo("demos", "list").stdout


def test_every_import_says_which_shape_it_read(icdpo: Any, file: Path) -> None:
    assert "shape: explicit prompt (TRL) (2 rows)" in icdpo("import", str(file)).stdout


def test_a_dry_run_shows_the_first_demonstration_and_stores_nothing(icdpo: Any, tmp_path: Path) -> None:
    path = tmp_path / "thumbs.jsonl"
    rows = [
        ("Why?", "So.\x1b[2J", "up"),
        ("Why?", "No.", "down"),
        ("Who?", "You.", "up"),
        ("Who?", "Hm.", None),
    ]
    path.write_text(
        "\n".join(json.dumps(dict(zip(["question", "answer", "thumbs"], row, strict=True))) for row in rows)
    )
    run = icdpo("import", str(path), "--dry-run")
    assert run.exit_code == 0
    assert "1 pair, 1 lone chosen answer, 0 lone rejected answers, 0 refused" in run.stdout
    for line in (
        "shape: thumbs (4 rows)",
        "skipped: no feedback",
        "user: Why?",
        "chosen: So.",
        "rejected: No.",
    ):
        assert line in run.stdout
    assert "\x1b" not in run.stdout
    report = json.loads(icdpo("import", str(path), "--dry-run", "--json").stdout)
    assert report["files"][0]["first"]["chosen"] == "So.\x1b[2J"
    assert "Why" not in icdpo("demos", "list").stdout
    icdpo("import", str(path))
    stored = json.loads(icdpo("demos", "list", "--json").stdout)
    answers = {row["prompt"]: (row.get("chosen"), row.get("rejected")) for row in stored}
    assert (answers["Why?"], answers["Who?"]) == (("So.\x1b[2J", "No."), ("You.", None))


def test_columns_and_a_threshold(icdpo: Any, tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_text('{"q": "Why?", "fine": "So.", "poor": "No."}')
    run = icdpo("import", str(path), "--dry-run", "--columns", "prompt=q,chosen=fine,rejected=poor")
    assert "1 pair," in run.stdout
    assert icdpo("import", str(path), "--columns", "prompt").exit_code == 2
    path.write_text('{"prompt": "Why?", "response": "So.", "score": 17}')
    assert "--threshold" in icdpo("import", str(path), "--dry-run").stderr
    assert "1 lone chosen" in icdpo("import", str(path), "--dry-run", "--threshold", "10").stdout
    assert "nan" in icdpo("import", str(path), "--threshold", "nan").stderr


def test_verdicts_by_their_values(icdpo: Any, tmp_path: Path) -> None:
    path = tmp_path / "compared.jsonl"
    row = '{"prompt": "Why?", "response_a": "So.", "response_b": "No.", "label": %d}\n'
    path.write_text("".join(row % value for value in (0, 1, 2)))
    refused = icdpo("import", str(path), "--dry-run")
    assert refused.exit_code == 1
    assert "--verdict" in refused.stderr
    run = icdpo("import", str(path), "--dry-run", "--verdict", "1,0")
    assert "2 pairs" in run.stdout
    assert "a tie (1 row)" in run.stdout
    assert "rejected: So." in run.stdout  # of the first row, whose verdict is 0
    for wrong in ("1", "1,1", ",0"):
        assert icdpo("import", str(path), "--verdict", wrong).exit_code == 2


def test_a_truncated_file_keeps_what_stands_before(icdpo: Any, tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n" + json.dumps(ROWS[1])[:30])
    run = icdpo("import", str(path))
    assert run.exit_code == 0
    assert "1 added" in run.stdout
    assert "cut.jsonl:2" in run.stdout
