"""`reading_notes`: the notes that explain a report's figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from icdpo_chains.evaluation.comparison.catalog import SYSTEM_ENTRIES, label
from icdpo_chains.evaluation.comparison.comparison import Judgment
from icdpo_chains.evaluation.report.contents import ReportContents

__all__ = ["reading_notes", "toxicity_name"]


def toxicity_name(judges: Mapping[str, Any]) -> str:
    """Returns the name of the toxicity judge's figures."""
    return "profanity" if "profan" in str(judges.get("toxicity")).lower() else "toxicity"


def reading_notes(report: ReportContents) -> list[str]:
    """Returns the notes on intervals, judges, controls and gaps that apply to a report."""
    return [*_statistics(report), *_judges(report), *_systems(report), *_gaps(report)]


def _statistics(report: ReportContents) -> list[str]:
    notes = []
    if any(item.reward or item.win_rate for item in report.summaries) or report.sweeps:
        notes.append(
            "In brackets: 95 % intervals by bootstrap over the prompts. They say how far other prompts would "
            "move a figure; other seeds, demonstrations, models and judges may move it further."
        )
    if any(item.p_value is not None for item in report.summaries):
        notes.append(
            f"p: two-sided sign-flip permutation test of the difference in reward from {label('base')}, on "
            "the prompts that both answered; not corrected for the number of systems."
        )
    if report.rankings:
        notes.append(
            "Mean reciprocal rank: 1 if a score always puts the reward model's favourite among the "
            "candidates first. Candidates with the same score share their mean rank."
        )
    notes.append(
        "Distinct-2 falls with the amount of text: compare systems of like length and as many answers."
    )
    return notes


def _judges(report: ReportContents) -> list[str]:
    notes = []
    judges = report.judges
    if judges.get("reward_model"):
        notes.append(f"Rewards are those of {judges['reward_model']}; higher is better.")
    accuracy = judges.get("reward_accuracy")
    if isinstance(accuracy, (int, float)):
        notes.append(
            f"On held-out pairs the reward judge ranks the chosen answer first in {100 * accuracy:.0f} %, "
            "where 50 % is chance: what it can't tell apart, its rewards can't show."
        )
    if any(item.win_rate or item.failed for item in report.summaries):
        judge = f" by {judges['judge']}" if judges.get("judge") else ""
        notes.append(f"Win rate{judge}: a tie is half a win; failed verdicts are left out, and counted.")
    verdicts = [item for item in report.judgments.values() if item.winner not in (None, "failed")]
    if verdicts:
        share = sum(item.disagreed for item in verdicts) / len(verdicts)
        notes.append(
            f"In {100 * share:.0f} % of {len(verdicts)} verdicts the order in which the answers were shown "
            "changed what the judge said; these count as ties."
        )
    if judges.get("toxicity") and any(item.toxicity is not None for item in report.summaries):
        notes.append(f"{toxicity_name(judges).capitalize()} is by {judges['toxicity']}; lower is better.")
    return notes


def _systems(report: ReportContents) -> list[str]:
    systems = {item.system for item in report.summaries}
    return [
        f"{entry.label} {entry.note}"
        for entry in SYSTEM_ENTRIES.values()
        if entry.note and entry.name in systems
    ]


def _gaps(report: ReportContents) -> list[str]:
    notes = []
    if len({item.answers for item in report.summaries}) > 1:
        notes.append("The systems did not answer equally many prompts: trust p rather than the mean rewards.")
    missing = sum(report.judgments.get(item.key, Judgment()).reward is None for item in report.answers)
    if 0 < missing < len(report.answers):
        notes.append(f"{missing} of {len(report.answers)} answers have no reward, and no part in its means.")
    return notes
