"""What the page knows about a visitor."""

import copy

import pytest

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.messages import Message
from icdpo_chains.ui.backend import Backend
from icdpo_chains.ui.session import Exchange, Session


def exchange(backend: Backend, session: Session, question: str) -> Exchange:
    prompt = session.asked(question)
    return Exchange(prompt, backend.icdpo.generate(prompt, seed=1))


def test_a_conversation_grows_by_answers(backend: Backend, session: Session) -> None:
    first = exchange(backend, session, "How do I boil an egg?")
    assert session.turns == ()
    session.answered(first)
    assert session.exchange().question == "How do I boil an egg?"
    assert session.asked("Why?") == (
        Message("user", "How do I boil an egg?"),
        Message("assistant", first.result.text),
        Message("user", "Why?"),
    )
    session.answer_instead("Slowly.")
    assert session.turns[-1] == Message("assistant", "Slowly.")
    session.settings["n"] = 2
    session.begin_again()
    assert (session.turns, session.last, session.settings) == ((), None, {"n": 2})


def test_there_is_nothing_to_teach_before_an_answer(session: Session) -> None:
    with pytest.raises(InvalidInputError, match="ask something first"):
        session.exchange()


@pytest.mark.parametrize("question", ["", " \n\t"], ids=["empty", "blank"])
def test_a_blank_question_is_refused(session: Session, question: str) -> None:
    with pytest.raises(InvalidInputError, match="blank"):
        session.asked(question)


def test_a_conversation_is_bounded(session: Session) -> None:
    session.turns = (Message("user", "a"), Message("assistant", "b")) * 50
    with pytest.raises(InvalidInputError, match='100 turns, the limit: press "New chat"'):
        session.asked("more?")


def test_sessions_are_copies_that_share_nothing(session: Session) -> None:
    """Gradio gives each visitor a deep copy of the first session."""
    mine, yours = copy.deepcopy(session), copy.deepcopy(session)
    mine.settings["n"] = 2
    assert yours.settings == {}
    assert mine.changes is not yours.changes
