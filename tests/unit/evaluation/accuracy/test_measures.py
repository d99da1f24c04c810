"""The measures compare every score that `InstantScorer` can compute."""

from __future__ import annotations

import itertools
from typing import get_args

from icdpo_chains.evaluation.accuracy.measures import SCORERS, Measure, Setting
from icdpo_chains.scoring import Against, Aggregate


def test_every_score_is_a_measure() -> None:
    sides = set(get_args(Against)) - {"auto"}  # one of the others, by the question
    known = {(scorer.against, scorer.aggregate) for scorer in SCORERS.values()}
    assert known == set(itertools.product(sides, get_args(Aggregate)))


def test_every_measure_has_a_name_of_its_own() -> None:
    names = [Setting(measure).name for measure in get_args(Measure)]
    assert len(set(names)) == len(names) > len(SCORERS)
