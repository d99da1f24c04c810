"""Rules of form: a transformation of neutral question and answer pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.evaluation.rules.definitions import checks
from icdpo_chains.evaluation.rules.definitions.rule import Check, Rule, RuleCase

__all__ = ["FORMAT_RULES", "question_bank"]

_CLOSINGS = (
    "Would you like to know more about this?",
    "Does that answer your question?",
    "What else would you like to know?",
    "Shall we go into more detail?",
)

Sentences = Sequence[str]


@cache
def question_bank() -> tuple[tuple[str, str, str], ...]:
    """Returns 70 questions, each with the two sentences of a neutral answer."""
    text = (files(__package__) / "questions.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()]
    return tuple((question, first, second) for question, first, second in rows)


def _one_sentence(number: int, sentences: Sentences) -> str:
    first, second = sentences
    return f"{first[:-1]}; {second[0].lower()}{second[1:]}"


def _bullets(number: int, sentences: Sentences) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _closing_question(number: int, sentences: Sentences) -> str:
    return " ".join([*sentences, _CLOSINGS[number % len(_CLOSINGS)]])


def _lower_case(number: int, sentences: Sentences) -> str:
    return " ".join(sentences).lower()


def _greeting(number: int, sentences: Sentences) -> str:
    return " ".join([checks.GREETING, *sentences])


def _rule(name: str, label: str, check: Check, transform: Callable[[int, Sentences], str]) -> Rule:
    cases = []
    for number, (question, *sentences) in enumerate(question_bank()):
        neutral = " ".join(sentences)
        cases.append(RuleCase(Demonstration(question, transform(number, sentences), neutral), neutral))
    return Rule(name, label, check, tuple(cases))


FORMAT_RULES: dict[str, Callable[[], Rule]] = {
    "one_sentence": lambda: _rule("one_sentence", "one sentence", checks.one_sentence, _one_sentence),
    "bullets": lambda: _rule("bullets", "bullets only", checks.bullets, _bullets),
    "closing_question": lambda: _rule(
        "closing_question", "ends with a question", checks.closing_question, _closing_question
    ),
    "lower_case": lambda: _rule("lower_case", "lower case", checks.lower_case, _lower_case),
    "greeting": lambda: _rule("greeting", "a fixed greeting", checks.greeting, _greeting),
}
"""Builds each rule of form, by name."""
