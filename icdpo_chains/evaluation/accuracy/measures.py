"""`Setting`: a measure of an answer, and the demonstrations that it reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from icdpo_chains.scoring import InstantScorer

__all__ = ["ALONE", "SCORERS", "Measure", "Setting", "settings_of"]

Measure = Literal[
    "rejected_mean",
    "rejected_sum",
    "base_mean",
    "base_sum",
    "shown_mean",
    "shown_sum",
    "policy_mean",
    "policy_sum",
    "length",
]
"""`rejected_*` and `base_*` are the instant scorers. `shown_*` is the policy's own log-probability with the
demonstrations in context, and `policy_*` without them. `length` prefers the longer answer."""

SCORERS: Mapping[Measure, InstantScorer] = MappingProxyType(
    {
        "rejected_mean": InstantScorer("rejected", "mean"),
        "rejected_sum": InstantScorer("rejected", "sum"),
        "base_mean": InstantScorer("base", "mean"),
        "base_sum": InstantScorer("base", "sum"),
    }
)
_SHOWN: tuple[Measure, ...] = ("shown_mean", "shown_sum")
ALONE: tuple[Measure, ...] = ("policy_mean", "policy_sum", "length")
_NAMES: Mapping[Measure, str] = {
    "rejected_mean": "S^ mean",
    "rejected_sum": "S^ sum",
    "base_mean": "S mean",
    "base_sum": "S sum",
    "shown_mean": "log-probability with demonstrations, mean",
    "shown_sum": "log-probability with demonstrations, sum",
    "policy_mean": "policy's own log-probability, mean",
    "policy_sum": "policy's own log-probability, sum",
    "length": "length: longer is better",
}


@dataclass(frozen=True)
class Setting:
    """One way to tell the better answer from the worse one.

    Attributes:
        measure: the figure that is compared.
        retriever: finds the demonstrations; `None` for a measure without demonstrations.
        k: how many demonstrations are shown; `None` for a measure without demonstrations.
    """

    measure: Measure
    retriever: str | None = None
    k: int | None = None

    @property
    def label(self) -> str:
        """The setting in tables and plots."""
        shown = "" if self.retriever is None else f", {self.retriever}, k = {self.k}"
        return f"{self.name}{shown}"

    @property
    def name(self) -> str:
        """The measure in words."""
        return _NAMES[self.measure]


def settings_of(
    retrievers: Iterable[str], ks: Iterable[int], *, yardsticks: bool = True
) -> tuple[Setting, ...]:
    """Returns every scorer with every retriever and k.

    Args:
        retrievers: names in `RETRIEVERS`.
        ks: numbers of demonstrations.
        yardsticks: whether to add the policy's log-probability, with and without demonstrations, and length.
    """
    retrievers, ks = tuple(dict.fromkeys(retrievers)), tuple(dict.fromkeys(ks))
    measures = (*SCORERS, *(_SHOWN if yardsticks else ()))
    shown = [Setting(measure, name, k) for measure in measures for name in retrievers for k in ks]
    return (*shown, *(map(Setting, ALONE) if yardsticks else ()))
