"""`copying`: the share of an answer copied from the demonstrations."""

from __future__ import annotations

from collections.abc import Sequence

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.evaluation.rules.definitions.checks import words
from icdpo_chains.messages import search_text
from icdpo_chains.prompts.contexts import ShownDemonstration

__all__ = ["copying"]


def copying(answer: str, shown: Sequence[ShownDemonstration], question: Demonstration) -> float:
    """Returns the share of an answer's word 4-grams in a shown demonstration that are not in the question.

    Args:
        answer: the answer.
        shown: the demonstrations; their prompts and chosen answers count.
        question: the pair with the question.

    Returns:
        From 0 to 1; 0 for an answer of fewer than four words.
    """
    own = _fourgrams(answer)
    if not own:
        return 0.0
    asked = set(_fourgrams("\n".join(message.text for message in question.messages)))
    known: set[tuple[str, ...]] = set()
    for pair in shown:
        known.update(_fourgrams(search_text(pair.messages)), _fourgrams(pair.chosen or ""))
    return sum(gram in known and gram not in asked for gram in own) / len(own)


def _fourgrams(text: str) -> list[tuple[str, ...]]:
    found = words(text)
    return [tuple(found[i : i + 4]) for i in range(len(found) - 3)]
