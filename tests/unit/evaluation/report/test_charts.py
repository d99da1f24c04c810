"""Drawings: the same for the same figures, safe in a page, and readable without eyes."""

import re
from xml.etree import ElementTree

import matplotlib
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from icdpo_chains.evaluation.report.charts import ChartPoint, cost_chart, sweep_chart
from icdpo_chains.evaluation.statistics import Interval

POINTS = [
    ChartPoint("Base", 1.2, Interval(0.1, -0.1, 0.3)),
    ChartPoint("ICDPO (S^)", 5.0, Interval(0.5, 0.2, 0.8), "own"),
    ChartPoint("Random of n", 5.1, Interval(0.1, -0.2, 0.3), "control"),
]


def texts(svg: str) -> list[str]:
    return [
        element.text or "" for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")
    ]


def test_the_same_points_give_the_same_drawing() -> None:
    before = dict(matplotlib.rcParams)
    first = cost_chart(POINTS, cost="seconds", name="cost")
    assert first == cost_chart(POINTS, cost="seconds", name="cost")
    assert dict(matplotlib.rcParams) == before
    assert "<metadata" not in first


def test_a_drawing_says_in_words_what_it_shows() -> None:
    root = ElementTree.fromstring(cost_chart(POINTS, cost="seconds", name="cost"))
    named = {element.get("id"): element.text for element in root.iter()}
    assert root.get("role") == "img"
    title, description = (named[name] for name in str(root.get("aria-labelledby")).split())
    assert title == "Mean reward against seconds"
    assert str(description).startswith("ICDPO (S^): 0.5 (0.2 to 0.8) at 5; Base: 0.1")


def test_several_drawings_share_no_id() -> None:
    both = cost_chart(POINTS, cost="s", name="a") + cost_chart(POINTS, cost="s", name="b")
    ids = re.findall(r'\sid="([^"]*)"', both)
    used = re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', both)
    assert len(ids) == len(set(ids))
    assert used
    assert {one or other for one, other in used} <= set(ids)


def test_colours_are_the_pages() -> None:
    svg = cost_chart(POINTS, cost="s", name="a")
    assert not re.search("#0[1-5]0[1-5]0[1-5]", svg)
    assert all(f"var(--{kind}," in svg for kind in ("own", "other", "control", "grid"))
    assert "currentColor" in svg
    assert "<style" not in svg
    assert set(re.findall(r"https?://[^\"]+", svg)) == {"http://www.w3.org/2000/svg"}


@settings(max_examples=4, deadline=None)
@example("<script>alert(1)</script>&\"'")
@example("$x^2$ \\frac{ _{")
@example("\x00\x1b[31m\ud800\uffff")
@example("\u4eba\U0001f99c\u202e")
@example("long " * 100)
@given(st.text())
def test_any_label_is_only_text(label: str) -> None:
    for svg in (
        cost_chart([ChartPoint(label, 1.0, Interval(1, 0, 2))], cost="s", name="a"),
        sweep_chart([label, "b"], [Interval(1, 0, 2)] * 2, axis=label, name="a"),
    ):
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(svg).iter()}
        assert tags <= {
            "svg",
            "title",
            "desc",
            "defs",
            "g",
            "path",
            "use",
            "text",
            "tspan",
            "clipPath",
            "rect",
        }
        svg.encode("utf-8")


def test_labels_are_not_formulas() -> None:
    assert "$x$" in texts(cost_chart([ChartPoint("$x$", 1.0, Interval(1, 0, 2))], cost="s", name="a"))
    assert {"$x$", "b"} <= set(texts(sweep_chart(["$x$", "b"], [Interval(1, 0, 2)] * 2, axis="a", name="a")))


@pytest.mark.parametrize("costs", [(0.0, 0.0), (0.0, 2.0), (3.0, 3.0), (0.001, 900.0)])
def test_any_cost_can_be_drawn(costs: tuple[float, float]) -> None:
    points = [ChartPoint(f"p{i}", cost, Interval(1, 0, 2)) for i, cost in enumerate(costs)]
    assert {"p0", "p1"} <= set(texts(cost_chart(points, cost="s", name="a")))


def test_a_narrow_range_has_numbers_on_its_axis() -> None:
    points = [ChartPoint("a", 2.2, Interval(1, 0, 2)), ChartPoint("b", 6.0, Interval(1, 0, 2))]
    assert "5" in texts(cost_chart(points, cost="s", name="a"))


def test_what_is_not_finite_is_left_out() -> None:
    nan = float("nan")
    points = [*POINTS, ChartPoint("x", 1.0, Interval(nan, nan, nan)), ChartPoint("y", nan, Interval(1, 0, 2))]
    assert cost_chart(points, cost="s", name="a") == cost_chart(POINTS, cost="s", name="a")


def test_numbers_stand_at_their_places_and_texts_side_by_side() -> None:
    def places(values: list[float | str]) -> list[float]:
        svg = sweep_chart(values, [Interval(1, 0, 2)] * len(values), axis="n", name="a")
        marks = re.findall(r'<use href="#a-m[^"]*" x="([\d.]+)"[^>]*var\(--own', svg)
        return sorted(set(map(float, marks)))

    one, two, eight = places([1, 2, 8])
    assert (eight - two) / (two - one) == pytest.approx(6, rel=1e-3)
    first, second, third = places(["1", "2", "8"])
    assert third - second == pytest.approx(second - first, rel=1e-3)


def test_labels_keep_clear_of_each_other() -> None:
    points = [ChartPoint(f"system {i}", 5.0, Interval(0.5 + i / 1000, 0.2, 0.8)) for i in range(4)]
    svg = cost_chart(points, cost="s", name="a")
    anchored = re.findall(r'<text [^>]* x="([\d.]+)" y="([\d.]+)"[^>]*>system', svg)
    places = {(float(x), float(y)) for x, y in anchored}
    assert len(places) == 4
    for place, other in ((a, b) for a in places for b in places if a < b):
        assert abs(place[0] - other[0]) > 10 or abs(place[1] - other[1]) > 8
