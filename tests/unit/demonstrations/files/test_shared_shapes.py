"""Small preference files in many shapes, three questions in each; they lie outside of the repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.files import ReadReport, RefusedRow, read_demonstrations
from icdpo_chains.errors import UnknownFormatError

DATA = Path(__file__).resolve().parents[5] / "shared" / "data" / "shapes"

REFUSED_WHOLE = {
    "04": "can't be separated",
    "90": "unknown by its suffix",
    "96": "zip archive",
    "p6": "Excel workbook",
}
TURNS = {
    "07": ["system", "user"],
    "09": ["system", "user"],
    "10": ["system", "user"],
    "11": ["system", "user"],
}
TURNS |= {"15": ["system", "user"], "54": ["system", "user"], "50": ["user", "assistant", "user"]}
OTHERS = {"35": 2, "56": 6, "59": 2, "60": 1, "89": 1, "99b": 0, "99c": 2, "99d": 0, "p": 2}
REFUSED_LINES = {"59": [1, 4, 5, 6, 7, 8], "99c": [3], "99d": [1]}

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the shared files are not there")
FILES = sorted(path.name for path in DATA.glob("*") if path.name != "README.md") if DATA.is_dir() else []


def value(table: dict[str, object], name: str) -> object:
    stem = name.split("_")[0].split(".")[0]
    return table.get(stem, table.get(stem[:1]) if stem.startswith("p") else None)


def expected() -> list[Demonstration]:
    lines = (DATA / "01_trl_explicit.jsonl").read_text("utf-8").splitlines()
    return [Demonstration(**json.loads(line)) for line in lines]


@pytest.mark.parametrize("name", FILES)
def test_a_shared_file_gives_what_its_readme_says(name: str) -> None:
    refused: list[RefusedRow] = []
    report = ReadReport()
    reader_error = value(dict(REFUSED_WHOLE), name)
    if reader_error is not None:
        with pytest.raises(UnknownFormatError, match=str(reader_error)):
            list(read_demonstrations(DATA / name))
        return
    found = list(read_demonstrations(DATA / name, on_refused=refused.append, report=report))
    assert [row.line for row in refused] == (value(dict(REFUSED_LINES), name) or [])
    roles = value(dict(TURNS), name) or ["user"]
    assert all([message.role for message in item.messages] == roles for item in found)
    count = value(dict(OTHERS), name)
    if count is not None:
        assert len(found) == count
        return
    answers = [(item.chosen, item.rejected) for item in found]
    assert answers[:3] == [(item.chosen, item.rejected) for item in expected()]
    assert len(found) == (5 if name.startswith("8") else 3)
    if not name.startswith(("14", "50")):
        assert [item.messages[-1].content for item in found][:3] == [item.prompt for item in expected()]


def test_the_tie_is_counted() -> None:
    report = ReadReport()
    list(read_demonstrations(DATA / "35_arena.jsonl", report=report))
    assert report.skipped == {"a tie": 1}
