"""The guide lists every shape with one row."""

from __future__ import annotations

from pathlib import Path

from icdpo_chains.demonstrations.files.shapes import SHAPES
from icdpo_chains.demonstrations.files.shapes.exports import EXPORTS

GUIDE = Path(__file__).resolve().parents[5] / "docs" / "guides" / "preference_files.md"


def test_each_shape_and_each_tool_has_a_row() -> None:
    first_cells = [
        line.split("|")[1].strip() for line in GUIDE.read_text("utf-8").splitlines() if line[:2] == "| "
    ]
    names = [shape.name for shape in SHAPES] + [export.name for export in EXPORTS]
    assert [name for name in names if first_cells.count(name) != 1] == []


def test_shapes_stand_in_the_guide_in_the_order_in_which_they_are_tried() -> None:
    text = GUIDE.read_text("utf-8")
    places = [text.index(f"| {shape.name} |") for shape in SHAPES]
    assert places == sorted(places)
