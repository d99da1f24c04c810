"""`Rule` and `RuleCase`: a house rule, its demonstrations, its test prompts and its check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from icdpo_chains.demonstrations.demonstration import Demonstration

__all__ = ["DEMONSTRATIONS", "Check", "Rule", "RuleCase"]

DEMONSTRATIONS = 20
"""The number of pairs that show a rule; the other cases are test prompts."""

Check = Callable[["RuleCase", str], bool]
"""Whether an answer to a case follows the rule; defined for every string, never raises."""


@dataclass(frozen=True)
class RuleCase:
    """One prompt with an answer that follows the rule and one that does not.

    Attributes:
        pair: the prompt, the chosen and the rejected answer.
        reference: a neutral answer; the answers of a system are compared with its content.
        facts: values that the check of the rule reads, by name.
    """

    pair: Demonstration
    reference: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """A house rule.

    Attributes:
        name: names the rule on the command line.
        label: describes the rule in a table.
        check: tells whether an answer follows the rule.
        cases: the first 20 are demonstrations, the others test prompts.
    """

    name: str
    label: str
    check: Check
    cases: tuple[RuleCase, ...]

    @property
    def demonstrations(self) -> tuple[Demonstration, ...]:
        """The pairs that show the rule."""
        return tuple(case.pair for case in self.cases[:DEMONSTRATIONS])

    @property
    def tests(self) -> tuple[RuleCase, ...]:
        """The held-out cases; none of their prompts is a demonstration's."""
        return self.cases[DEMONSTRATIONS:]
