"""`search_setting`: finds the scorer, retriever and k that rank pairs best, by successive halving."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.evaluation.accuracy.margins import PairMargins, PairScorer, right
from icdpo_chains.evaluation.accuracy.measures import Setting
from icdpo_chains.evaluation.statistics import Interval, paired_p_value, share

__all__ = ["SIGNIFICANT", "SettingSearch", "search_setting"]

SIGNIFICANT = 0.05
"""A difference with a p-value below this one counts as real."""

_SEARCHED = 2 / 3  # of pairs and time; the rest compares the winner with the default


@dataclass(frozen=True)
class SettingSearch:
    """The result of the search.

    Attributes:
        default: the setting that the winner is compared with.
        winner: the best setting of the search; the default where no other setting is ahead of it.
        searched: how many pairs the search scored.
        compared: how many other pairs compare the winner with the default; 0 if the default wins or the time
            is up.
        winner_accuracy: the winner's preference accuracy on these other pairs.
        default_accuracy: the default's preference accuracy on them.
        p_value: of the two-sided paired permutation test between the two; NaN without such pairs.
        skipped: how many pairs did not fit the model.
    """

    default: Setting
    winner: Setting
    searched: int
    compared: int
    winner_accuracy: Interval
    default_accuracy: Interval
    p_value: float
    skipped: int = 0

    @property
    def is_better(self) -> bool:
        """Whether the winner is significantly better than the default."""
        return self.p_value < SIGNIFICANT and self.winner_accuracy.mean > self.default_accuracy.mean

    @property
    def chosen(self) -> Setting:
        """The winner if it is significantly better, otherwise the default."""
        return self.winner if self.is_better else self.default

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields by name."""
        return asdict(self)


def search_setting(
    scorer: PairScorer,
    rows: Sequence[Demonstration],
    settings: Iterable[Setting],
    default: Setting,
    *,
    seconds: float,
    clock: Callable[[], float],
    seed: int = 0,
    on_progress: Callable[[str], None] = lambda _: None,
) -> SettingSearch:
    """Finds the setting with the highest preference accuracy within a time.

    All settings are scored on a first block of pairs, the better half of them on a second block, and so on,
    with the same time for each block (successive halving, Karnin et al. 2013). A setting also leaves the
    search if the paired test finds it worse than the leader. The winner of a search looks better than it is:
    it is compared with the default on pairs that took no part in the search.

    Args:
        scorer: scores pairs.
        rows: rows of the scorer.
        settings: the settings to try, besides the default.
        default: never leaves the search.
        seconds: for the whole search; the time is checked after each few pairs, which are scored together.
        clock: returns seconds.
        seed: of the order of the pairs.
        on_progress: receives a line about the work in progress.
    """
    began = clock()
    drawn = random.Random(seed).sample(list(rows), len(rows))  # noqa: S311
    boundary = math.ceil(_SEARCHED * len(drawn))
    pairs, fresh = drawn[:boundary], drawn[boundary:]
    alive = list(dict.fromkeys([default, *settings]))
    rounds = max(1, math.ceil(math.log2(max(2, len(alive) - 1))))
    scored: list[PairMargins] = []
    skipped = 0

    def score(block: Sequence[Demonstration], tried: Sequence[Setting], until: float) -> list[PairMargins]:
        nonlocal skipped
        found: list[PairMargins] = []
        outcomes = scorer.score_each(block, tried)
        while clock() < until and (outcome := next(outcomes, _END)) is not _END:
            if isinstance(outcome, PairMargins):
                found.append(outcome)
            else:
                skipped += 1
        return found

    def standing(setting: Setting) -> float:
        return -sum(right(pair.margins[setting]) for pair in scored)

    def near(setting: Setting, leader: Setting) -> bool:
        own, best = ([right(pair.margins[each]) for pair in scored] for each in (setting, leader))
        return paired_p_value(own, best, seed=seed) >= SIGNIFICANT

    for number in range(rounds):
        block = pairs[len(pairs) * number // rounds : len(pairs) * (number + 1) // rounds]
        on_progress(f"Comparing {len(alive)} settings ...")
        scored += score(block, alive, began + seconds * _SEARCHED * (number + 1) / rounds)
        if scored:
            others = sorted((setting for setting in alive if setting != default), key=standing)
            kept = others[: max(1, len(others) // 2)]
            # The time goes to settings that the pairs so far can't tell from the leader.
            alive = [default, kept[0], *(setting for setting in kept[1:] if near(setting, kept[0]))]
    # The default wins a tie.
    winner = min(alive, key=standing) if scored else default
    compared: list[PairMargins] = []
    if winner != default:
        on_progress("Comparing the best setting with the default ...")
        compared = score(fresh, [default, winner], began + seconds)
    better, usual = ([right(pair.margins[setting]) for pair in compared] for setting in (winner, default))
    return SettingSearch(
        default=default,
        winner=winner,
        searched=len(scored),
        compared=len(compared),
        winner_accuracy=share(better, seed=seed),
        default_accuracy=share(usual, seed=seed),
        p_value=paired_p_value(better, usual, seed=seed),
        skipped=skipped,
    )


_END = object()
