"""`RULES` and `build_rule`: the house rules by name."""

from __future__ import annotations

from icdpo_chains.evaluation.rules.definitions.content_rules import CONTENT_RULES
from icdpo_chains.evaluation.rules.definitions.format_rules import FORMAT_RULES
from icdpo_chains.evaluation.rules.definitions.rule import Rule

__all__ = ["RULES", "build_rule"]

RULES = tuple(FORMAT_RULES) + tuple(CONTENT_RULES)
"""The names of all rules."""


def build_rule(name: str) -> Rule:
    """Returns a rule.

    Raises:
        ValueError: the name is unknown.
    """
    known = {**FORMAT_RULES, **CONTENT_RULES}
    if name not in known:
        raise ValueError(f"the rule {name!r} is unknown: use {', '.join(RULES)}")
    return known[name]()
