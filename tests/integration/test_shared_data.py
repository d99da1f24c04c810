"""Two public preference files, read whole; they lie outside of the repository and are not copied."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from icdpo_chains.demonstrations.files import RefusedRow, read_demonstrations

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.mark.parametrize(
    ("name", "rows", "refused_lines"),
    [
        # Four dialogues end with an empty answer of the assistant, on the side that was chosen.
        ("hh_harmless_dev.jsonl.gz", 1_156, [87, 517, 926, 1_104]),
        ("dpo_en_demo.json", 300, []),
    ],
)
def test_every_row_is_read_or_refused_with_its_line(name: str, rows: int, refused_lines: list[int]) -> None:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    refused: list[RefusedRow] = []
    demonstrations = list(read_demonstrations(path, on_refused=refused.append))
    assert len(demonstrations) + len(refused) == rows
    assert [row.line for row in refused] == refused_lines
    assert all("blank" in row.reason for row in refused)
    assert all(demonstration.rejected for demonstration in demonstrations)
    assert all(demonstration.messages[-1].role == "user" for demonstration in demonstrations)


def test_no_text_is_lost_from_sharegpt() -> None:
    path = DATA / "dpo_en_demo.json"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    rows = json.loads(path.read_bytes())
    for row, demonstration in zip(rows, read_demonstrations(path), strict=True):
        assert [message.content for message in demonstration.messages] == [
            turn["value"] for turn in row["conversations"]
        ]
        assert (demonstration.chosen, demonstration.rejected) == (
            row["chosen"]["value"],
            row["rejected"]["value"],
        )
