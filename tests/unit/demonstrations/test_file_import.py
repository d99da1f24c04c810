"""`FileImport`: what a file would give, what it gave, and what of it could not be read."""

import json
from pathlib import Path

import pytest

from icdpo_chains.demonstrations.file_import import FileImport, parse_columns
from icdpo_chains.demonstrations.statistics import store_statistics
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import InvalidInputError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [
        {"prompt": "How long does an egg boil?", "chosen": "Eight minutes.", "rejected": "Boil it!"},
        {"prompt": "And a goose egg?", "chosen": "", "rejected": "No idea."},
        {"prompt": "Which hobby is quiet?", "chosen": "Drawing\n\nis quiet.", "rejected": "Drums."},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_preview_counts_and_shows_the_first_and_stores_nothing(file: Path) -> None:
    item = FileImport.opened(str(file), pair_thumbs=True)
    item.preview()
    counts, shape, *first = item.lines(previewed=True)
    assert counts.endswith("rows.jsonl: 2 pairs, 0 lone chosen answers, 0 lone rejected answers, 1 refused")
    assert shape.startswith("  shape: ")
    assert shape.endswith("(2 rows)")
    assert first == ["  user: How long does an egg boil?", "  chosen: Eight minutes.", "  rejected: Boil it!"]
    assert [row.line for row in item.refused] == [2]
    assert not item.empty
    assert item.report.total == 0
    assert item.to_dict(previewed=True)["first"]["chosen"] == "Eight minutes."


def test_a_preview_counts_as_the_statistics_of_a_store_do(tmp_path: Path, store: DemonstrationStore) -> None:
    votes = [("Up?", "a", True), ("Tie?", "b", True), ("Tie?", "b", False), ("Down?", "c", False)]
    votes += [("Pair?", "d", True), ("Pair?", "e", False)]
    path = tmp_path / "thumbs.jsonl"
    rows = [{"prompt": prompt, "answer": answer, "label": up} for prompt, answer, up in votes]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    item = FileImport.opened(str(path), pair_thumbs=True)
    item.preview()
    counts, _, ties, *_ = item.lines(previewed=True)
    assert counts.endswith("1 pair, 1 lone chosen answer, 1 lone rejected answer, 0 refused")
    assert ties == "  kept, but not shown to the model: 1 answer with as many thumbs up as down"
    FileImport.opened(str(path)).store(store)
    found = store_statistics(store)
    assert item.kinds == {kind: getattr(found, kind) for kind in ("pairs", "ups", "downs", "ties")}


def test_a_store_reports_what_it_added(file: Path, store: DemonstrationStore) -> None:
    reports: list[int] = []
    item = FileImport.opened(str(file))
    item.store(store, lambda report: reports.append(report.total))
    assert len(store) == 2
    assert reports == [2]
    assert item.lines(previewed=False)[0].endswith("2 read, 2 added, 0 updated, 0 already there, 1 refused")
    again = FileImport.opened(str(file))
    again.store(store)
    assert again.to_dict(previewed=False)["already_there"] == 2


def test_an_unknown_shape_is_a_failure_of_this_file_alone(tmp_path: Path, store: DemonstrationStore) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"colour": "red", "size": 3}\n')
    for read in (FileImport.preview, lambda item: item.store(store)):
        item = FileImport.opened(str(path))
        read(item)
        assert item.failure is not None
        assert "colour" in item.failure
        assert item.empty
    assert len(store) == 0


def test_an_unknown_format_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "rows.xlsx"
    path.write_bytes(b"PK\x03\x04")
    item = FileImport.opened(str(path))
    item.preview()
    assert item.failure is not None
    assert "Excel" in item.failure
    assert item.empty


def test_what_is_stored_before_an_error_is_counted(store: DemonstrationStore, file: Path) -> None:
    item = FileImport.opened(str(file))
    rows = item.demonstrations

    def broken() -> object:
        yield next(rows)
        raise OSError("the disk is gone")

    item.demonstrations = broken()  # type: ignore[assignment]
    with pytest.raises(OSError, match="gone"):
        item.store(store)
    assert item.report.added == len(store) == 1


def test_columns() -> None:
    assert parse_columns("prompt=q, chosen = good") == {"prompt": "q", "chosen": "good"}


@pytest.mark.parametrize("given", ["", "prompt", "prompt=", "=q", "prompt=q,"])
def test_columns_of_another_form(given: str) -> None:
    with pytest.raises(InvalidInputError, match="form"):
        parse_columns(given)
