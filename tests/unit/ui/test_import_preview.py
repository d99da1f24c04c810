"""A file as it would be read, and its import."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from icdpo_chains.demonstrations.changes import Changes
from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.ui.import_preview import FileOptions, import_file, preview_file

ROWS = [
    {"prompt": "How long does an egg boil?", "chosen": "Eight minutes.", "rejected": "Boil\u202e it!"},
    {"prompt": "Which hobby is quiet?", "chosen": "Drawing.", "rejected": "Drums."},
    {"prompt": "Nothing good?", "chosen": "", "rejected": "Nothing."},
]


@pytest.fixture
def store() -> Iterator[DemonstrationStore]:
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        yield store


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_a_preview_shows_the_shape_the_counts_and_the_first(file: Path) -> None:
    shown = preview_file(file, FileOptions())
    lines = shown.text.split("\n")
    assert shown.usable
    assert lines[0] == "rows.jsonl: 2 pairs, 0 lone chosen answers, 0 lone rejected answers, 1 refused"
    assert lines[1].startswith("  shape: ")
    assert lines[2:5] == [
        "  user: How long does an egg boil?",
        "  chosen: Eight minutes.",
        "  rejected: Boil\\u202e it!",
    ]
    assert lines[5].startswith("  refused rows.jsonl:3: ")
    assert str(file.parent) not in shown.text


def test_a_preview_says_what_the_command_says(file: Path) -> None:
    from typer.testing import CliRunner

    from icdpo_chains.cli.app import app

    said = CliRunner().invoke(app, ["import", str(file), "--dry-run"]).stdout.rstrip("\n")
    assert said.replace(str(file), file.name) == preview_file(file, FileOptions()).text


def test_an_import_is_counted_and_undone(file: Path, store: DemonstrationStore) -> None:
    changes = Changes()
    batches: list[int] = []
    done = import_file(file, FileOptions(), store, changes, lambda report: batches.append(report.total))
    assert done.text.startswith("rows.jsonl: 2 read, 2 added, 0 updated, 0 already there, 1 refused\n")
    assert done.usable
    assert batches == [2]
    assert changes.last == "import of rows.jsonl"
    changes.undo(store)
    assert len(store) == 0


def test_columns_and_threshold(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("q,fine,poor\nHello?,yes,no\n")
    assert not preview_file(path, FileOptions()).usable
    assert preview_file(path, FileOptions("prompt=q,chosen=fine,rejected=poor")).usable
    with pytest.raises(InvalidInputError, match="form"):
        preview_file(path, FileOptions("q"))


def test_the_threshold_decides_what_is_good(tmp_path: Path) -> None:
    path = tmp_path / "rated.jsonl"
    path.write_text('{"prompt": "Hello?", "completion": "yes", "rating": 3}\n')
    assert "1 lone chosen answer," in preview_file(path, FileOptions(threshold="3")).text
    assert "1 lone rejected answer," in preview_file(path, FileOptions(threshold=" 3.5 ")).text
    for given in ("three", "nan", "inf"):
        with pytest.raises(InvalidInputError, match=given):
            preview_file(path, FileOptions(threshold=given))


def test_an_unknown_shape_is_refused_with_the_reason(tmp_path: Path, store: DemonstrationStore) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"colour": "red", "size": 3}\n')
    shown, done = preview_file(path, FileOptions()), import_file(path, FileOptions(), store, Changes())
    assert not shown.usable
    assert "colour" in shown.text
    assert str(tmp_path) not in shown.text
    assert done == shown
    assert len(store) == 0


def test_many_refused_rows_are_not_all_listed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({**ROWS[0], "chosen": ""}) + "\n" for _ in range(15)))
    shown = preview_file(path, FileOptions())
    assert not shown.usable
    assert shown.text.count("  refused ") == 10
    assert "and 5 more" in shown.text
    assert shown.text.endswith("no row could be used")


def test_a_file_that_breaks_off_keeps_what_was_read(
    file: Path, store: DemonstrationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = Changes()
    opened = FileOptions.opened

    def breaking(options: FileOptions, path: Path, *, pair_thumbs: bool) -> object:
        item = opened(options, path, pair_thumbs=pair_thumbs)
        rows = item.demonstrations

        def broken() -> Iterator[object]:
            yield next(rows)
            raise OSError("the disk is gone")

        item.demonstrations = broken()  # type: ignore[assignment]
        return item

    monkeypatch.setattr(FileOptions, "opened", breaking)
    done = import_file(file, FileOptions(), store, changes)
    assert "the disk is gone" in done.text
    assert "1 read, 1 added" in done.text
    assert len(store) == 1
    changes.undo(store)
    assert len(store) == 0


def test_advice_names_the_fields_of_the_page(tmp_path: Path) -> None:
    """The messages of the import name options of the command line, which a page doesn't have."""
    path = tmp_path / "rows.csv"
    path.write_text("x;y\n1;2\n")
    said = preview_file(path, FileOptions()).text
    assert 'in the field "Columns": prompt=' in said
    path = tmp_path / "rows.jsonl"
    row = {"prompt": "Which hobby is quiet?", "response_a": "Drawing.", "response_b": "Drums."}
    path.write_text("".join(json.dumps({**row, "preference": verdict}) + "\n" for verdict in (3, 7)))
    said += (refused := preview_file(path, FileOptions()).text)
    assert 'in the field "Verdicts": 0,1' in refused
    read = preview_file(path, FileOptions(verdict="3, 7"))
    assert read.text.startswith("rows.jsonl: 2 pairs")
    path = tmp_path / "scores.jsonl"
    path.write_text(
        "".join(f'{{"prompt": "{score}?", "completion": "a", "score": {score}}}\n' for score in (0.5, 37))
    )
    said += preview_file(path, FileOptions()).text
    assert "--" not in said


@pytest.mark.parametrize("given", ["3", "3,", ",", "1,2,3", "1, 1"])
def test_verdicts_of_another_form_are_refused(file: Path, given: str) -> None:
    with pytest.raises(InvalidInputError, match="FIRST,SECOND"):
        preview_file(file, FileOptions(verdict=given))
