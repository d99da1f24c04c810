"""The search finds what is best, says only what holds on other pairs, and keeps its time."""

from __future__ import annotations

import itertools
import random
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import pytest

from icdpo_chains import Demonstration
from icdpo_chains.evaluation.accuracy.margins import PairMargins
from icdpo_chains.evaluation.accuracy.measures import Setting, settings_of
from icdpo_chains.evaluation.tuning.successive_halving import search_setting

ROWS = [Demonstration(f"q {i}", "a", "b") for i in range(120)]
SETTINGS = settings_of(["two_stage", "bm25"], [1, 2], yardsticks=False)
DEFAULT = Setting("rejected_mean", "two_stage", 2)


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Planted:
    """Ranks pairs right with a probability of each setting's own; takes a second a pair."""

    def __init__(self, clock: Clock, probability: dict[Setting, float], seconds: float = 1.0) -> None:
        self.clock, self.probability, self.seconds = clock, probability, seconds
        self.scored: list[tuple[str, int]] = []

    def score_each(
        self, rows: Iterable[Demonstration], settings: Collection[Setting]
    ) -> Iterator[PairMargins | None]:
        for row in rows:
            self.clock.now += self.seconds
            if row.prompt == "q 7":
                yield None
                continue
            self.scored.append((row.id, len(settings)))
            margins = {
                setting: 1.0
                if random.Random(f"{row.id}{setting}").random() < self.probability.get(setting, 0.5)
                else -1.0
                for setting in settings
            }
            yield PairMargins(row.id, 0, margins, {})


def searched(probability: dict[Setting, float], seconds: float = 1000, **options: Any) -> Any:
    clock = Clock()
    scorer = Planted(clock, probability)
    found = search_setting(scorer, ROWS, SETTINGS, DEFAULT, seconds=seconds, clock=clock, **options)  # type: ignore[arg-type]
    return found, scorer, clock


def test_a_planted_best_is_found_and_shown_to_be_better() -> None:
    best = Setting("base_sum", "bm25", 1)
    found, scorer, _ = searched({best: 0.95, DEFAULT: 0.4})
    assert found.winner == found.chosen == best
    assert found.is_better
    assert found.p_value < 0.01
    assert found.winner_accuracy.mean > 0.8 > 0.6 > found.default_accuracy.mean
    # The comparison is on pairs that the search has not seen; half of the settings or more leave at each block.
    assert (
        len({id_ for id_, _ in scorer.scored}) == len(scorer.scored) == found.searched + found.compared == 119
    )
    counts = [count for count, _ in itertools.groupby(count for _, count in scorer.scored)]
    assert (counts[0], counts[-1]) == (16, 2)
    assert all(later <= max(2, earlier // 2) for earlier, later in itertools.pairwise(counts))
    assert found.skipped == 1
    assert found == searched({best: 0.95, DEFAULT: 0.4})[0]


def test_a_setting_that_the_test_finds_worse_leaves_early() -> None:
    best = Setting("base_sum", "bm25", 1)
    hopeless = {setting: 0.05 for setting in SETTINGS if setting != best}
    found, scorer, _ = searched({**hopeless, best: 0.95})
    assert found.winner == best
    assert [count for count, _ in itertools.groupby(count for _, count in scorer.scored)] == [16, 2]
    # Without a clear leader, half of the settings stay at each block.
    _, even, _ = searched({})
    assert [count for count, _ in itertools.groupby(count for _, count in even.scored)][:3] == [16, 8, 4]


def test_a_winner_by_chance_is_not_called_better() -> None:
    for seed in range(5):
        found, _, _ = searched({}, seed=seed)
        if found.p_value >= 0.05 or found.winner == DEFAULT:
            assert found.chosen == DEFAULT
    assert sum(searched({}, seed=seed)[0].is_better for seed in range(20)) <= 3


def test_a_default_that_is_best_stays_without_a_comparison() -> None:
    found, _, _ = searched(dict.fromkeys(SETTINGS, 1.0))
    assert found.winner == found.chosen == DEFAULT  # a tie
    assert found.compared == 0
    assert not found.is_better


@pytest.mark.parametrize("seconds", [0, 1, 5, 20, 60])
def test_the_time_is_kept(seconds: float) -> None:
    found, scorer, clock = searched({Setting("base_sum", "bm25", 1): 1.0, DEFAULT: 0.0}, seconds=seconds)
    assert clock.now <= 100 + seconds + 1  # the pair that was begun
    assert found.searched + found.compared == len(scorer.scored)
    if seconds == 0:
        assert (found.winner, found.searched) == (DEFAULT, 0)
    if seconds == 60:
        assert found.compared >= 15  # a third of the time is left for it


def test_two_settings_alone() -> None:
    clock = Clock()
    other = Setting("base_sum", "bm25", 1)
    scorer = Planted(clock, {other: 1.0, DEFAULT: 0.0})
    found = search_setting(scorer, ROWS[:12], [other], DEFAULT, seconds=99, clock=clock)  # type: ignore[arg-type]
    assert (found.winner, found.compared) == (other, 4)
