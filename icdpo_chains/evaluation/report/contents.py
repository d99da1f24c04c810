"""`ReportContents`: the figures of a report for its notes and its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from icdpo_chains.evaluation.comparison.comparison import Judgment, SystemSummary
from icdpo_chains.evaluation.comparison.ranking import ScorerRanking
from icdpo_chains.evaluation.comparison.sweeps import Sweep
from icdpo_chains.evaluation.report.tables import Table
from icdpo_chains.evaluation.system_answers import SystemAnswer

__all__ = ["ReportContents"]


class ReportContents(Protocol):
    """See `Report`, whose attributes and methods these are."""

    @property
    def answers(self) -> Sequence[SystemAnswer]: ...  # noqa: D102
    @property
    def judgments(self) -> Mapping[str, Judgment]: ...  # noqa: D102
    @property
    def sweeps(self) -> Sequence[Sweep]: ...  # noqa: D102
    @property
    def judges(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def summaries(self) -> Sequence[SystemSummary]: ...  # noqa: D102
    @property
    def rankings(self) -> Sequence[ScorerRanking]: ...  # noqa: D102
    def tables(self) -> list[Table]: ...  # noqa: D102
    def notes(self) -> list[str]: ...  # noqa: D102
    def setting_lines(self) -> list[tuple[str, str]]: ...  # noqa: D102
