"""`Report`: systems side by side, as one HTML page and as Markdown tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any, TypeVar

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.evaluation.comparison.comparison import Judgment, SystemSummary, check_judgments, compare
from icdpo_chains.evaluation.comparison.ranking import ScorerRanking, rank_scorers
from icdpo_chains.evaluation.comparison.sweeps import Sweep, sweeps
from icdpo_chains.evaluation.report.notes import reading_notes, toxicity_name
from icdpo_chains.evaluation.report.page import html_page
from icdpo_chains.evaluation.report.tables import (
    Table,
    comparison_table,
    escaped_markdown,
    ranking_table,
    sweep_table,
)
from icdpo_chains.evaluation.system_answers import SystemAnswer
from icdpo_chains.jsonl import ResumableFile

__all__ = ["Report"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Report:
    """What answers, judgments and sweeps come to.

    Attributes:
        answers: of all systems.
        judgments: by the answers' keys; some or all may be missing.
        sweeps: reward over the values of one setting each.
        settings: what the answers were made with.
        judges: what the judgments were made with: `reward_model`, `reward_accuracy`, `judge`, `toxicity`.
        seed: of the bootstrap and the permutation test.
        summaries: the systems, best first.
        rankings: the scorers, best first.

    Raises:
        InvalidInputError: there is no answer, or the judgments are not of these answers.
    """

    answers: Sequence[SystemAnswer]
    judgments: Mapping[str, Judgment] = field(default_factory=dict)
    sweeps: Sequence[Sweep] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    judges: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    summaries: Sequence[SystemSummary] = field(init=False)
    rankings: Sequence[ScorerRanking] = field(init=False)

    def __post_init__(self) -> None:
        _check_any(self.answers)
        check_judgments(self.answers, self.judgments)
        object.__setattr__(self, "summaries", compare(self.answers, self.judgments, seed=self.seed))
        object.__setattr__(self, "rankings", rank_scorers(self.answers, self.judgments, seed=self.seed))

    @classmethod
    def read(
        cls,
        answers: str | Path,
        judgments: str | Path | None = None,
        swept: str | Path | None = None,
        *,
        seed: int = 0,
    ) -> Report:
        """Reads the files that `icdpo eval generate` and `icdpo eval judge` wrote.

        Args:
            answers: records of `SystemAnswer`.
            judgments: records that `Judgment.from_dict` reads.
            swept: records that `sweeps` reads.
            seed: of the bootstrap and the permutation test.

        Raises:
            InvalidInputError: a file is empty or holds something else, or they do not belong together.
            OSError: a file can't be read.
        """
        settings, rows = ResumableFile.read(answers)
        with _named(answers):
            found = [_record(row, _answer) for row in rows]
            _check_any(found)
        judges, judged = ResumableFile.read(judgments) if judgments else ({}, [])
        with _named(judgments):
            by_key = {row["key"]: _record(row, Judgment.from_dict) for row in judged}
            check_judgments(found, by_key)
        with _named(swept):
            drawn = sweeps(ResumableFile.read(swept)[1], seed=seed) if swept else []
        return cls(found, by_key, drawn, settings, judges, seed)

    def tables(self) -> list[Table]:
        """Returns all tables, the comparison of the systems first."""
        against = [item.against for item in self.judgments.values() if item.against is not None]
        comparison = comparison_table(
            self.summaries, against=against[0] if against else "base", toxicity=toxicity_name(self.judges)
        )
        ranking = [ranking_table(self.rankings)] if self.rankings else []
        return [comparison, *ranking, *map(sweep_table, self.sweeps)]

    def notes(self) -> list[str]:
        """Returns what a reader must know to read the figures."""
        return reading_notes(self)

    def setting_lines(self) -> list[tuple[str, str]]:
        """Returns what answers, judgments and this report were made with, by name."""
        lines = [
            *self.settings.items(),
            *((f"judges: {name}", value) for name, value in self.judges.items()),
            ("statistics: seed", self.seed),
        ]
        return [
            (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            for name, value in lines
            if value is not None
        ]

    def markdown(self) -> str:
        """Returns the tables, notes and settings in GitHub's Markdown."""
        parts = ["# Evaluation"]
        for table in self.tables():
            parts += [f"## {escaped_markdown(table.title)}", table.markdown()]
        parts += ["## How to read it", _listed(self.notes())]
        parts += ["## Settings", _listed(f"{name}: {value}" for name, value in self.setting_lines())]
        return "\n\n".join(parts) + "\n"

    def html(self, *, samples: int = 5) -> str:
        """Returns one page that needs nothing else: no script, no network, light or dark as its reader likes.

        Args:
            samples: for how many prompts the answers are shown.

        Raises:
            ICDPOError: Jinja or Matplotlib is missing.
        """
        return html_page(self, samples)

    def write(self, directory: str | Path, *, samples: int = 5) -> tuple[Path, Path]:
        """Writes `report.html` and `report.md`, over those that are there.

        Args:
            directory: made where there is none.
            samples: for how many prompts the page shows the answers.

        Returns:
            Both files.

        Raises:
            ICDPOError: as `html`.
            OSError: a file can't be written.
        """
        contents = {"report.html": self.html(samples=samples), "report.md": self.markdown()}
        Path(directory).mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            Path(directory, name).write_text(content, encoding="utf-8", newline="\n")
        return Path(directory, "report.html"), Path(directory, "report.md")


def _check_any(answers: Sequence[SystemAnswer]) -> None:
    if not answers:
        raise InvalidInputError("there is no answer to report on: make some with `icdpo eval generate`")


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {escaped_markdown(line)}" for line in lines)


def _answer(row: Mapping[str, Any]) -> SystemAnswer:
    answer = SystemAnswer.from_dict(row)
    for name, kind in (
        ("system", str),
        ("text", str),
        ("reference", str),
        ("seconds", Real),
        ("tokens", Real),
    ):
        if not isinstance(getattr(answer, name), kind):
            raise TypeError(f"{name} can't be {getattr(answer, name)!r:.40}")
    return answer


def _record(row: Mapping[str, Any], build: Callable[[Mapping[str, Any]], _T]) -> _T:
    try:
        return build(row)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        missing = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise InvalidInputError(f"the record {row['key']!r:.120} can't be used: {missing}") from None


@contextmanager
def _named(file: str | Path | None) -> Iterator[None]:
    try:
        yield
    except InvalidInputError as error:
        if str(error).startswith(str(file)):
            raise
        raise InvalidInputError(f"{file}: {error}") from None
