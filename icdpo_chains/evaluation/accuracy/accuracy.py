"""`PreferenceAccuracy`: how often each setting ranks the chosen answer above the rejected one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from icdpo_chains.evaluation.accuracy.margins import PairMargins, Setting, right
from icdpo_chains.evaluation.statistics import Interval, bootstrap
from icdpo_chains.result import json_safe

__all__ = ["GapBin", "PreferenceAccuracy"]


@dataclass(frozen=True)
class GapBin:
    """The pairs whose answers differ in length by about the same.

    Attributes:
        shortest: the smallest length of a chosen answer less that of the rejected one, in tokens.
        longest: the largest.
        pairs: how many pairs there are.
        accuracy: the share of them that is ranked right.
    """

    shortest: int
    longest: int
    pairs: int
    accuracy: Interval


@dataclass(frozen=True)
class PreferenceAccuracy:
    """Pairs scored under several settings, the same pairs under each.

    Attributes:
        model: the policy's name.
        pairs: those that were scored.
        skipped: how many did not fit the model.
        seed: of the bootstrap.
    """

    model: str
    pairs: tuple[PairMargins, ...]
    skipped: int = 0
    seed: int = 0

    @property
    def settings(self) -> tuple[Setting, ...]:
        """What was compared."""
        return tuple(self.pairs[0].margins) if self.pairs else ()

    def margins(self, setting: Setting) -> list[float]:
        """Returns by how much each pair's chosen answer is preferred; infinite where one can't be scored."""
        return [pair.margins[setting] for pair in self.pairs]

    def right(self, setting: Setting) -> list[float]:
        """Returns 1 for each pair that is ranked right, 0 for one ranked wrong, a half for a tie."""
        return list(map(right, self.margins(setting)))

    def accuracy(self, setting: Setting) -> Interval:
        """Returns the share of pairs that is ranked right, with its 95 % bootstrap interval."""
        return bootstrap(self.right(setting), seed=self.seed)

    def by_length_gap(self, setting: Setting) -> tuple[GapBin, ...]:
        """Returns the accuracy by the difference in length, in thirds of the pairs.

        A scorer that only prefers the longer answer is right in the last third and wrong in the first. Pairs
        of equal difference are in one bin, so that there may be fewer than three.
        """
        gaps = np.array([pair.gap for pair in self.pairs])
        if not len(gaps):
            return ()
        ranked = np.array(self.right(setting))
        place = np.searchsorted(np.quantile(gaps, [1 / 3, 2 / 3], method="lower"), gaps)
        return tuple(
            GapBin(
                int(gaps[place == third].min()),
                int(gaps[place == third].max()),
                int((place == third).sum()),
                bootstrap(ranked[place == third].tolist(), seed=self.seed),
            )
            for third in np.unique(place)
        )

    def shown(self, setting: Setting) -> float | None:
        """Returns how many demonstrations there was room for on average; `None` for a measure without."""
        counts = [pair.shown[setting] for pair in self.pairs if setting in pair.shown]
        return sum(counts) / len(counts) if counts else None

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values: each setting's figures and margins, and the pairs by id."""
        settings = [
            {
                **asdict(setting),
                "accuracy": asdict(self.accuracy(setting)),
                "by_length_gap": [asdict(third) for third in self.by_length_gap(setting)],
                "demonstrations_shown": self.shown(setting),
                "margins": self.margins(setting),
            }
            for setting in self.settings
        ]
        fields: dict[str, Any] = json_safe(
            {
                "model": self.model,
                "pairs": len(self.pairs),
                "skipped": self.skipped,
                "seed": self.seed,
                "ids": [pair.id for pair in self.pairs],
                "length_gaps": [pair.gap for pair in self.pairs],
                "settings": settings,
            }
        )
        return fields

    @classmethod
    def of(cls, model: str, outcomes: Sequence[PairMargins | None], *, seed: int = 0) -> PreferenceAccuracy:
        """Sums up what `PairScorer.score_each` yielded."""
        pairs = tuple(pair for pair in outcomes if pair is not None)
        return cls(model, pairs, len(outcomes) - len(pairs), seed)
