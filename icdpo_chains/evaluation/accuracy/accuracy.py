"""`PreferenceAccuracy`: how often each setting ranks the chosen answer above the rejected one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from icdpo_chains.evaluation.accuracy.margins import PairMargins, right
from icdpo_chains.evaluation.accuracy.measures import Setting
from icdpo_chains.evaluation.statistics import Interval, share
from icdpo_chains.foundation.jsonl import json_safe

__all__ = ["GapBin", "PreferenceAccuracy"]


@dataclass(frozen=True)
class GapBin:
    """Pairs with about the same gap in length: tokens of the chosen answer minus tokens of the rejected one.

    Attributes:
        shortest: the smallest gap.
        longest: the largest gap.
        pairs: how many pairs there are.
        accuracy: the share of pairs that are ranked right.
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
        pairs: the scored pairs.
        skipped: how many pairs did not fit the model.
        seed: the seed of the bootstrap.
    """

    model: str
    pairs: tuple[PairMargins, ...]
    skipped: int = 0
    seed: int = 0

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The settings of the comparison."""
        return tuple(self.pairs[0].margins) if self.pairs else ()

    def margins(self, setting: Setting) -> list[float]:
        """Returns the margin of each pair; it is infinite if one answer can't be scored."""
        return [pair.margins[setting] for pair in self.pairs]

    def right(self, setting: Setting) -> list[float]:
        """Returns 1 for each pair that is ranked right, 0 for each pair ranked wrong, 0.5 for a tie."""
        return list(map(right, self.margins(setting)))

    def accuracy(self, setting: Setting) -> Interval:
        """Returns the share of pairs that are ranked right, with its 95 % interval; see `share`."""
        return share(self.right(setting), seed=self.seed)

    def by_length_gap(self, setting: Setting) -> tuple[GapBin, ...]:
        """Returns the accuracy by the gap in length, in thirds of the pairs.

        A scorer that prefers the longer answer, and nothing else, is right in the last third and wrong in the
        first. Pairs of equal gap share a bin, so there may be fewer than three bins.
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
                share(ranked[place == third].tolist(), seed=self.seed),
            )
            for third in np.unique(place)
        )

    def shown(self, setting: Setting) -> float | None:
        """Returns the mean number of demonstrations that fit; `None` for a measure without demonstrations."""
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
        """Builds the accuracy from the results of `PairScorer.score_each`."""
        pairs = tuple(pair for pair in outcomes if pair is not None)
        return cls(model, pairs, len(outcomes) - len(pairs), seed)
