"""`report_rules`: the share of answers that follow the rules, with intervals, tests and costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from icdpo_chains.evaluation.rules.answers import RuleAnswers
from icdpo_chains.evaluation.rules.systems import RULE_SYSTEMS
from icdpo_chains.evaluation.statistics import Interval, mcnemar_p_value, wilson

__all__ = ["RulesReport", "SystemReport", "report_rules"]


@dataclass(frozen=True)
class SystemReport:
    """The figures of one system over all prompts.

    Attributes:
        name: the system's name.
        label: the system's label.
        follows: the share of answers that follow their rule, with a 95 % Wilson interval.
        by_rule: the share for each rule.
        p_base: exact McNemar test against the base system, two-sided.
        p_few_shot: the same against few-shot.
        copying: mean over the answers, see `RuleAnswer`.
        content: mean over the answers, see `RuleAnswer`.
        seconds: mean wall time of an answer.
        tokens: mean number of tokens sampled for an answer.
    """

    name: str
    label: str
    follows: Interval
    by_rule: Mapping[str, float]
    p_base: float
    p_few_shot: float
    copying: float
    content: float
    seconds: float
    tokens: float


@dataclass(frozen=True)
class RulesReport:
    """The figures of all systems.

    Attributes:
        settings: the settings of the run.
        rules: the number of prompts of each rule.
        systems: the systems in the order of the tables.
    """

    settings: Mapping[str, Any]
    rules: Mapping[str, int]
    systems: tuple[SystemReport, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as JSON values."""
        return asdict(self)

    def header(self) -> list[str]:
        """Returns the names of the table's columns."""
        return [
            "system", *self.rules, "all", "95 %", "p (base)", "p (few shot)", "copying", "content", "seconds",
            "tokens",
        ]  # fmt: skip

    def rows(self) -> list[list[str]]:
        """Returns the table's cells; shares are in percent."""
        return [
            [
                system.label,
                *(f"{100 * system.by_rule[rule]:.0f}" for rule in self.rules),
                f"{100 * system.follows.mean:.0f}",
                f"{100 * system.follows.low:.0f} to {100 * system.follows.high:.0f}",
                f"{system.p_base:.3f}",
                f"{system.p_few_shot:.3f}",
                f"{100 * system.copying:.0f}",
                f"{100 * system.content:.0f}",
                f"{system.seconds:.2f}",
                f"{system.tokens:.0f}",
            ]
            for system in self.systems
        ]

    def markdown(self) -> str:
        """Returns the report as a Markdown document."""
        header = self.header()
        lines = [header, ["---", *["---:"] * (len(header) - 1)], *self.rows()]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        settings = ", ".join(f"{name} {_shown(value)}" for name, value in self.settings.items())
        return (
            f"# House rules\n\n{settings}.\n\n{table}\n\n"
            "A rule's column has the percentage of answers that follow the rule; the interval is Wilson's, "
            "and p is the exact McNemar test over the prompts of all rules. Copying: percentage of an "
            "answer's word 4-grams that stand in a shown demonstration and not in the question. Content: "
            "cosine to a neutral reference answer, times 100.\n"
        )


def _shown(value: Any) -> Any:
    """Returns a value for a table; for a model's file, only its name."""
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def report_rules(answers: Sequence[RuleAnswers], settings: Mapping[str, Any]) -> RulesReport:
    """Returns the figures of each system that answered all prompts.

    Args:
        answers: the answers to at least one prompt.
        settings: the settings of the run, shown in the report.

    Raises:
        ValueError: there are no answers.
    """
    if not answers:
        raise ValueError("there are no answers to report: answer at least one prompt")
    rules: dict[str, int] = {}
    for each in answers:
        rules[each.rule] = rules.get(each.rule, 0) + 1
    systems = [system for system in RULE_SYSTEMS if all(map(system.answered, answers))]
    picked = {system.name: [system.pick(each) for each in answers] for system in systems}
    follows = {name: [answer.follows for answer in own] for name, own in picked.items()}
    reports = []
    for system in systems:
        own, marks = picked[system.name], follows[system.name]
        by_rule = {
            rule: sum(mark for mark, each in zip(marks, answers, strict=True) if each.rule == rule) / count
            for rule, count in rules.items()
        }
        reports.append(
            SystemReport(
                name=system.name,
                label=system.label,
                follows=wilson(sum(marks), len(marks)),
                by_rule=by_rule,
                p_base=mcnemar_p_value(marks, follows["base"]),
                p_few_shot=mcnemar_p_value(marks, follows["few_shot"]),
                copying=math.fsum(answer.copying for answer in own) / len(own),
                content=math.fsum(answer.content for answer in own) / len(own),
                seconds=math.fsum(map(system.seconds, answers)) / len(own),
                tokens=sum(map(system.tokens, answers)) / len(own),
            )
        )
    return RulesReport(settings, rules, tuple(reports))
