"""The latest answers, within bounds."""

from __future__ import annotations

from icdpo_chains.messages import Message
from icdpo_chains.server.recent_answers import RecentAnswer, RecentAnswers


def answer(text: str) -> RecentAnswer:
    return RecentAnswer((Message("user", "12345"),), text)


def test_the_oldest_are_forgotten() -> None:
    answers = RecentAnswers(most=2)
    for name in "abc":
        answers.keep(name, [answer(name), answer(name * 2)])
    assert answers.get("a") is None
    assert answers.get("b") == (answer("b"), answer("bb"))
    assert answers.get("c") == (answer("c"), answer("cc"))


def test_the_texts_are_bounded_together() -> None:
    answers = RecentAnswers(most_characters=30)
    assert answer("12345").size == 10
    for name in "abcd":
        answers.keep(name, [answer("12345")])
    assert [answers.get(name) is None for name in "abcd"] == [True, False, False, False]
    answers.keep("large", [answer("x" * 31)])
    assert [answers.get(name) for name in ("b", "d", "large")] == [None] * 3
    answers.keep("e", [answer("12345")])
    assert answers.get("e") == (answer("12345"),)
