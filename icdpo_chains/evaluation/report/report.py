"""`Report`: a comparison of systems as an HTML page and as Markdown tables."""

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
from icdpo_chains.foundation.jsonl import ResumableFile

__all__ = ["Report"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Report:
    """The report of answers, judgments and sweeps.

    Attributes:
        answers: the answers of all systems.
        judgments: the judgments by the answers' keys; any may be missing.
        sweeps: reward over the values of one setting each.
        settings: the settings of the answers.
        judges: the judges: `reward_model`, `reward_accuracy`, `judge`, `toxicity`.
        seed: the seed of the bootstrap and the permutation test.
        summaries: the systems, best first.
        rankings: the scorers, best first.

    Raises:
        InvalidInputError: there is no answer, or the judgments do not belong to the answers.
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
        """Builds a report from the files of `icdpo eval generate` and `icdpo eval judge`.

        Args:
            answers: records of `SystemAnswer`.
            judgments: records of `Judgment.from_dict`.
            swept: records for `sweeps`.
            seed: the seed of the bootstrap and the permutation test.

        Raises:
            InvalidInputError: a file is empty or has other contents, or the files do not belong together.
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
        """Returns the notes that explain the figures."""
        return reading_notes(self)

    def setting_lines(self) -> list[tuple[str, str]]:
        """Returns the settings of answers, judgments and this report, by name."""
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
        """Returns one self-contained page: no script, no network, light or dark by the reader's preference.

        Args:
            samples: the number of prompts with answers.

        Raises:
            ICDPOError: Jinja or Matplotlib is not installed.
        """
        return html_page(self, samples)

    def write(self, directory: str | Path, *, samples: int = 5) -> tuple[Path, Path]:
        """Writes `report.html` and `report.md`; overwrites existing files.

        Args:
            directory: the directory; created if it does not exist.
            samples: the number of prompts with answers on the page.

        Returns:
            The paths of both files.

        Raises:
            ICDPOError: see `html`.
            OSError: a file can't be written.
        """
        contents = {"report.html": self.html(samples=samples), "report.md": self.markdown()}
        Path(directory).mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            Path(directory, name).write_text(content, encoding="utf-8", newline="\n")
        return Path(directory, "report.html"), Path(directory, "report.md")


def _check_any(answers: Sequence[SystemAnswer]) -> None:
    if not answers:
        raise InvalidInputError("there is no answer to report on: create answers with `icdpo eval generate`")


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
