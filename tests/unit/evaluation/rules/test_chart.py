"""The picture of a report on house rules."""

from pathlib import Path

import pytest

from icdpo_chains.evaluation.rules.chart import plot_rules
from icdpo_chains.evaluation.rules.report import RulesReport, SystemReport
from icdpo_chains.evaluation.statistics import wilson


def report(share: int) -> RulesReport:
    systems = tuple(
        SystemReport(name, label, wilson(count, 20), {"bullets": count / 20}, 1.0, 1.0, 0.0, 0.5, 1.0, 20.0)
        for name, label, count in [("base", "base, greedy", 4), ("guided", "guided, greedy", share)]
    )
    return RulesReport({}, {"bullets": 20}, systems)


def test_equal_reports_give_equal_pictures(tmp_path: Path) -> None:
    for name, share in (("one", 17), ("two", 17), ("three", 18)):
        plot_rules(report(share), tmp_path / "new" / f"{name}.svg")
    one, two, three = ((tmp_path / "new" / f"{name}.svg").read_bytes() for name in ("one", "two", "three"))
    assert one == two != three
    assert b"<svg" in one


def test_each_system_has_a_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")  # text stays text
    plot_rules(report(17), tmp_path / "rules.svg")
    drawn = (tmp_path / "rules.svg").read_text("utf-8")
    for text in ("base, greedy", "guided, greedy", ">20<", ">85<"):
        assert text in drawn
