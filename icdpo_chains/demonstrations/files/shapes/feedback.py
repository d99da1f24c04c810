"""`opinion_of`: the users' opinion among the scores that a tool keeps for one answer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from icdpo_chains.demonstrations.files.shapes.dialogue import value_of
from icdpo_chains.demonstrations.files.shapes.opinions import is_opinion
from icdpo_chains.errors import DemonstrationError, UnknownFormatError

__all__ = ["opinion_of", "together"]

_OF_USERS = ("user", "human", "feedback", "thumb")
_PEOPLE = ("HUMAN", "ANNOTATION")
_MACHINES = ("LLM", "CODE", "EVAL", "LLM_JUDGE", "AI_JUDGE")
_MEASURES = (
    *("latency", "duration", "cost", "token", "length", "perplexity", "error"),
    *("toxic", "hallucinat", "bias", "harm"),  # the higher, the worse
)
_VALUES = ("stringValue", "string_value", "score", "avg", "value", "emoji", "label", "rating", "thumb")
"""Langfuse writes `value: 0` beside the `stringValue` of a category."""


class _Score(NamedTuple):
    """A score, its name, and whether a person gave it (`None`: unknown)."""

    name: str
    value: Any
    human: bool | None


def opinion_of(feedback: Any) -> Any:
    """Returns the opinion in a tool's feedback; `None` without one.

    Scores that people gave count before scores of a program. Several of the same name are averaged, or the
    majority counts.

    Raises:
        UnknownFormatError: scores of several names could be the opinion.
    """
    if isinstance(feedback, str):
        feedback = value_of(feedback) or feedback
    given = _scores(feedback)
    scores = [score for score in given if not any(word in score.name.lower() for word in _MEASURES)]
    scores = [score for score in scores if score.human is not False] or ([] if given else scores)
    if given and not scores:
        names = ", ".join(repr(name) for name in dict.fromkeys(score.name for score in given[:5]))
        raise UnknownFormatError(
            f"the feedback has measurements of programs alone, {names}: name the columns if one is an "
            "opinion, such as --columns prompt=...,completion=...,rating=scores.NAME"
        )
    people = [score for score in scores if score.human]
    people = people or [s for s in scores if s.human is None and _names_users(s.name)]
    pool = people or scores
    if len({score.name for score in pool}) > 1:
        pool = [score for score in pool if is_opinion(score.value)]
    if len({score.name for score in pool}) > 1:
        names = ", ".join(repr(name) for name in dict.fromkeys(score.name for score in pool[:5]))
        raise UnknownFormatError(
            f"the feedback has several names, {names}, and none is a user's, or several are: name the "
            "columns, such as --columns prompt=...,completion=...,rating=scores.NAME"
        )
    return together([score.value for score in pool])


def together(values: list[Any]) -> Any:
    """Returns the mean of several numbers, or the value of the majority; `None` without a value."""
    if len(values) < 2:
        return next(iter(values), None)
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        try:
            return math.fsum(values) / len(values)
        except OverflowError:
            raise DemonstrationError("a number of the feedback is too large") from None
    counts = Counter(map(str, values)).most_common()
    if len(counts) > 1 and counts[0][1] == counts[1][1]:
        return "tie"
    return next(value for value in values if str(value) == counts[0][0])


def _scores(feedback: Any) -> list[_Score]:
    items: list[tuple[str, Any]] = []
    if isinstance(feedback, Mapping):
        items = [(str(name), value) for name, value in feedback.items()]
        if len(items) > 1 and all(not isinstance(value, (Mapping, list)) for _, value in items):
            named = [(name, value) for name, value in items if name in _VALUES]
            items = [("", feedback)] if len(named) == 1 else items  # one opinion with its comment
    elif isinstance(feedback, list):
        items = [(_name(item), item) for item in feedback if isinstance(item, Mapping)]
    elif feedback is not None:
        items = [("", feedback)]
    return [score for name, item in items for score in _score(name, item)]


def _name(item: Mapping[str, Any]) -> str:
    keys = ("name", "key", "assessment_name", "feedback_type", "type")
    return next((str(item[key]) for key in keys if item.get(key)), "")


def _score(name: str, item: Any) -> list[_Score]:
    human: bool | None = None
    if isinstance(item, Mapping):
        source = item.get("source")
        source = source.get("source_type") if isinstance(source, Mapping) else source
        kinds = {str(kind).upper() for kind in (source, item.get("annotator_kind")) if kind}
        human = True if kinds & {*_PEOPLE} else False if kinds & {*_MACHINES} else None
        human = True if name.startswith("wandb.reaction") else human
        human = False if name.startswith("wandb.runnable") else human
        inner = next(
            (v for k in ("result", "feedback", "payload") if isinstance(v := item.get(k), Mapping)), item
        )
        item = next((inner[key] for key in _VALUES if inner.get(key) is not None), None)
    values = item if isinstance(item, list) else [item]
    return [_Score(name, v, human) for v in values if v is not None and not isinstance(v, (list, Mapping))]


def _names_users(name: str) -> bool:
    return any(word in name.lower() for word in _OF_USERS)
