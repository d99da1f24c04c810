"""`SYSTEM_ENTRIES`: the systems of the comparison, one entry each."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

__all__ = ["SYSTEM_ENTRIES", "SystemEntry", "label"]


@dataclass(frozen=True)
class SystemEntry:
    """A system of the comparison.

    Attributes:
        name: names the system on the command line and in files.
        label: describes the system in tables and charts.
        build: the method of `Experiment` that builds the system.
        kind: how charts draw the system: a method of this project, a control, or another method.
        note: a sentence without its subject that a reader of the figures needs; empty for none.
    """

    name: str
    label: str
    build: str
    kind: Literal["own", "control", "other"] = "other"
    note: str = ""


# The paper's order: without and with training, then in-context, then the control and the ceiling.
_ENTRIES = (
    SystemEntry("base", "Base", "_base"),
    SystemEntry("sft_lora", "SFT + LoRA", "_sft_lora"),
    SystemEntry("best_of_n", "Best of n by reward model", "_best_of_n"),
    SystemEntry("reward_decoding", "Reward-augmented decoding", "_reward_decoding"),
    SystemEntry("few_shot", "Few-shot", "_few_shot"),
    SystemEntry("icdpo", "ICDPO (S)", "_icdpo", "own"),
    SystemEntry("icdpo_upgraded", "ICDPO (S^)", "_icdpo_upgraded", "own"),
    SystemEntry("icdpo_retrieved", "ICDPO (S^) + retriever", "_icdpo_retrieved", "own"),
    SystemEntry(
        "random_of_n",
        "Random of n",
        "_random_of_n",
        "control",
        "is a control: one of the candidates, picked at random.",
    ),
    SystemEntry(
        "oracle_of_n",
        "Oracle of n",
        "_oracle_of_n",
        "control",
        "is a ceiling: the judge itself picked among the candidates, so that its reward can't be compared "
        "with the others'.",
    ),
)
SYSTEM_ENTRIES = MappingProxyType({entry.name: entry for entry in _ENTRIES})
"""The entries by name."""


def label(system: str) -> str:
    """Returns the label of a system; an unknown system keeps its name."""
    return SYSTEM_ENTRIES[system].label if system in SYSTEM_ENTRIES else system
