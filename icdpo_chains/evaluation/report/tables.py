"""`Table`: the report's figures as cells of text, for any output."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from icdpo_chains.evaluation.comparison.catalog import label
from icdpo_chains.evaluation.comparison.comparison import SystemSummary
from icdpo_chains.evaluation.comparison.ranking import ScorerRanking
from icdpo_chains.evaluation.comparison.sweeps import Sweep
from icdpo_chains.evaluation.statistics import Interval

__all__ = ["Table", "comparison_table", "escaped_markdown", "ranking_table", "sweep_table", "visible"]

# Characters forbidden in HTML and XML; a lone surrogate can't even be written.
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows.

    Attributes:
        title: the title above the table.
        header: the names of the columns.
        rows: the rows, each with a cell for each column.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def columns(self, *names: str) -> Table:
        """Returns a table with the named columns that exist."""
        kept = [self.header.index(name) for name in names if name in self.header]
        return Table(
            self.title,
            tuple(self.header[i] for i in kept),
            tuple(tuple(row[i] for i in kept) for row in self.rows),
        )

    def markdown(self) -> str:
        """Returns the table in GitHub's Markdown; no cell can break the layout."""
        lines = [self.header, ("---", *["---:"] * (len(self.header) - 1)), *self.rows]
        escaped = [lines[1] if i == 1 else tuple(map(escaped_markdown, line)) for i, line in enumerate(lines)]
        return "\n".join("| " + " | ".join(line) + " |" for line in escaped)


def comparison_table(summaries: Sequence[SystemSummary], *, against: str, toxicity: str) -> Table:
    """Returns the table of the comparison, without empty columns.

    Args:
        summaries: the systems, in this order.
        against: the system of the win rates.
        toxicity: the name of the toxicity figures.
    """
    columns = {
        "system": [visible(label(item.system)) for item in summaries],
        "answers": [str(item.answers) for item in summaries],
        "reward": [_interval(item.reward) for item in summaries],
        f"p (reward, {label('base')})": [_p_value(item.p_value) for item in summaries],
        f"win rate against {visible(label(against))}": [_win_rate(item) for item in summaries],
        "words": [f"{item.words:.1f}" for item in summaries],
        "distinct-2": ["" if math.isnan(item.distinct_2) else f"{item.distinct_2:.3f}" for item in summaries],
        "refusals": [_percent(item.refusal_rate) for item in summaries],
        toxicity: ["" if item.toxicity is None else f"{item.toxicity:.3f}" for item in summaries],
        "seconds": [_significant(item.seconds) for item in summaries],
        "tokens": [f"{item.tokens:.0f}" for item in summaries],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    return Table("Comparison", tuple(shown), tuple(zip(*shown.values(), strict=True)))


def ranking_table(rankings: Sequence[ScorerRanking]) -> Table:
    """Returns the table of the scorers' rankings of the reward model's favourite."""
    rows = [
        (visible(item.measure), _interval(item.reciprocal_rank), f"{item.chance:.3f}", str(item.prompts))
        for item in rankings
    ]
    header = ("score", "mean reciprocal rank", "at random", "prompts")
    return Table("Rank of the reward model's favourite candidate", header, tuple(rows))


def sweep_table(sweep: Sweep) -> Table:
    """Lays one sweep out."""
    rows = [
        (
            visible(point.value) if isinstance(point.value, str) else f"{point.value:g}",
            _interval(point.reward),
            str(point.prompts),
        )
        for point in sweep.points
    ]
    name = visible(sweep.name)
    return Table(f"Reward against {name}", (name, "reward", "prompts"), tuple(rows))


def visible(text: str) -> str:
    """Returns the text with forbidden characters (controls, lone surrogates) replaced."""
    return _FORBIDDEN.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def escaped_markdown(text: str) -> str:
    """Returns the text on one line, escaped for Markdown."""
    line = " ".join(visible(text).split())
    line = re.sub(r"([\\`*\[\]|~#]|(?<!\w)_|_(?!\w))", r"\\\1", line)  # within a word, _ is only itself
    return re.sub("[&<>$]", lambda found: f"&#{ord(found[0])};", line)


def _interval(interval: Interval | None) -> str:
    if interval is None or not math.isfinite(interval.mean):
        return ""
    return f"{interval.mean:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _win_rate(summary: SystemSummary) -> str:
    failed = f"; {summary.failed} failed" if summary.failed else ""
    rate = summary.win_rate
    if rate is None:
        return failed.removeprefix("; ")
    return f"{_percent(rate.mean)} ({100 * rate.low:.0f} to {100 * rate.high:.0f}){failed}"


def _p_value(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _significant(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"
