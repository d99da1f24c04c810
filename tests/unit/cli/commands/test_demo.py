"""`icdpo demo`."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from icdpo_chains.cli.commands.demo import bullet_demonstrations, difference


def test_the_two_answers_stand_side_by_side(icdpo: Any) -> None:
    run = icdpo("demo", "How do I calm down?", "--n", "2")
    assert (run.exit_code, run.stderr) == (0, "")
    for part in (
        "How do I calm down?",
        "without demonstrations",
        "the best of 2",
        "Bullet lines: 0",
        "seed 11",
    ):
        assert part in run.stdout


@pytest.mark.parametrize("options", [["--n", "0"], ["--n", "257"], ["--max-tokens", "0"], ["--seed", "-1"]])
def test_a_value_out_of_range_is_a_usage_error(icdpo: Any, options: list[str]) -> None:
    assert icdpo("demo", *options).exit_code == 2


def test_every_demonstration_shows_the_rule_and_only_its_chosen_answer_does() -> None:
    shown = bullet_demonstrations()
    assert len({item.id for item in shown}) == 12
    for item in shown:
        assert all(line.startswith("- ") for line in item.chosen.splitlines())
        assert len(item.chosen.splitlines()) == 3
        assert item.rejected is not None
        assert "\n" not in item.rejected


def test_the_difference_is_counted() -> None:
    class Result:
        text = "- one\n- two"
        demonstrations = (1, 2)

    result: Any = Result()
    assert difference("one two three", result, 12) == (
        "The model is the same. The right side shows it 2 of 12 demonstrations, and no instruction names the rule. "
        "Bullet lines: 0 without, 2 with. Words: 3 without, 4 with."
    )


def test_the_picture_is_an_svg_that_loads_nothing(icdpo: Any, tmp_path: Path) -> None:
    icdpo("demo", "What does <b> & {x} mean?", "--picture", str(tmp_path / "demo.svg"))
    svg = (tmp_path / "demo.svg").read_text("utf-8")
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert "<b>" in "".join(root.itertext()).replace("\xa0", " ")
    assert "url(http" not in svg
    assert "@font-face" not in svg
