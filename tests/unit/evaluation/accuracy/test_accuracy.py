"""What is counted from margins."""

from __future__ import annotations

import json
import math
import random

import pytest

from icdpo_chains.evaluation.accuracy.accuracy import PreferenceAccuracy
from icdpo_chains.evaluation.accuracy.margins import PairMargins
from icdpo_chains.evaluation.accuracy.measures import Setting
from icdpo_chains.evaluation.statistics import bootstrap

SCORE, LENGTH = Setting("rejected_mean", "bm25", 2), Setting("length")


def measured(margins: list[float], gaps: list[int] | None = None) -> PreferenceAccuracy:
    gaps = gaps or list(range(len(margins)))
    pairs = [
        PairMargins(str(i), gap, {SCORE: margin, LENGTH: float(gap)}, {SCORE: 1 + i % 2})
        for i, (margin, gap) in enumerate(zip(margins, gaps, strict=True))
    ]
    return PreferenceAccuracy.of("m", [None, *pairs, None])


def test_a_tie_counts_half() -> None:
    found = measured([1.0, -1.0, 0.0, math.inf, -math.inf])
    assert found.right(SCORE) == [1, 0, 0.5, 1, 0]
    assert found.accuracy(SCORE) == bootstrap([1, 0, 0.5, 1, 0])
    assert (found.skipped, len(found.pairs), found.settings) == (2, 5, (SCORE, LENGTH))


def test_length_alone_is_right_in_the_last_third_and_wrong_in_the_first() -> None:
    draw = random.Random(0)
    gaps = draw.sample(range(-45, 45), 90)
    bins = measured([0.0] * 90, gaps).by_length_gap(LENGTH)
    assert [one.pairs for one in bins] == [30, 30, 30]
    assert [(one.shortest, one.longest) for one in bins] == [(-45, -16), (-15, 14), (15, 44)]
    assert [one.accuracy.mean for one in bins] == [0, pytest.approx(14.5 / 30), 1]


@pytest.mark.parametrize(("gaps", "pairs"), [([3] * 6, [6]), ([0, 0, 0, 0, 0, 9], [5, 1]), ([5], [1])])
def test_equal_gaps_are_never_told_apart(gaps: list[int], pairs: list[int]) -> None:
    bins = measured([1.0] * len(gaps), gaps).by_length_gap(SCORE)
    assert [one.pairs for one in bins] == pairs
    assert sum(one.pairs for one in bins) == len(gaps)


def test_nothing_scored() -> None:
    found = measured([])
    assert found.settings == ()
    assert math.isnan(found.accuracy(SCORE).mean)
    assert found.by_length_gap(SCORE) == ()
    assert found.shown(SCORE) is None


def test_json_holds_everything_and_nothing_that_is_not_finite() -> None:
    fields = json.loads(json.dumps(measured([1.0, -math.inf, 2.0]).to_dict(), allow_nan=False))
    assert (fields["pairs"], fields["skipped"], fields["ids"]) == (3, 2, ["0", "1", "2"])
    score, length = fields["settings"]
    assert (score["measure"], score["retriever"], score["k"]) == ("rejected_mean", "bm25", 2)
    assert score["margins"] == [1.0, None, 2.0]
    assert score["accuracy"]["mean"] == pytest.approx(2 / 3)
    assert score["demonstrations_shown"] == pytest.approx(4 / 3)
    assert length["demonstrations_shown"] is None
