"""The verdict on the default score, in words."""

from __future__ import annotations

import pytest

from icdpo_chains.evaluation.accuracy.accuracy import PreferenceAccuracy
from icdpo_chains.evaluation.accuracy.margins import PairMargins
from icdpo_chains.evaluation.accuracy.measures import Setting
from icdpo_chains.evaluation.accuracy.verdict import default_setting, verdict

OTHER = Setting("base_mean", "random", 3)


def measured(default: list[float], other: list[float] | None = None) -> PreferenceAccuracy:
    """A measurement with these margins of the default score, and of another score."""
    pairs = []
    for i, margin in enumerate(default):
        margins = {default_setting(): margin} | ({} if other is None else {OTHER: other[i]})
        pairs.append(PairMargins(id=str(i), gap=0, margins=margins, shown={}))
    return PreferenceAccuracy("m", tuple(pairs))


@pytest.mark.parametrize(
    ("margins", "says"),
    [
        ([1.0] * 30, "agrees with these preferences: it ranks 100% of 30 pairs right"),
        ([-1.0] * 30, "contradicts these preferences: it ranks 0% of 30 pairs right"),
        ([1.0, -1.0] * 15, "not shown that the default score"),
        ([1.0], "not shown that the default score"),
        ([0.0] * 30, "not shown that the default score"),
    ],
)
def test_the_verdict_follows_from_the_interval(margins: list[float], says: str) -> None:
    said = verdict(measured(margins))
    assert says in said
    assert "(S^ sum, two_stage, k = 2)" in said
    assert "Highest" not in said


def test_a_better_setting_is_named_and_not_believed() -> None:
    said = verdict(measured([1.0, -1.0] * 15, [1.0] * 30))
    assert "Highest in this table is S mean, random, k = 3, 100%: `icdpo tune` tells" in said


def test_without_the_default_the_first_score_is_judged() -> None:
    pair = PairMargins(id="1", gap=0, margins={OTHER: 1.0}, shown={})
    assert "the score S mean, random, k = 3" in verdict(PreferenceAccuracy("m", (pair,) * 30))


def test_no_interval_is_empty() -> None:
    for margins in ([1.0] * 7, [-1.0] * 7, [0.0] * 7, [1.0]):
        found = measured(margins)
        (third,) = found.by_length_gap(default_setting())
        for interval in (found.accuracy(default_setting()), third.accuracy):
            assert interval.low < interval.high
            assert 0 <= interval.low <= interval.mean <= interval.high <= 1
