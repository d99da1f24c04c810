"""The commands of `icdpo chat`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from icdpo_chains import DemonstrationStore, FakeEmbedder, Message
from icdpo_chains.cli.chat_session import ChatSession
from icdpo_chains.errors import InvalidInputError


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[], DemonstrationStore]:
    return lambda: DemonstrationStore(tmp_path, embedder=FakeEmbedder())


@pytest.fixture
def session(opened: Callable[[], DemonstrationStore]) -> ChatSession:
    session = ChatSession(opened, "Be brief.")
    session.turns = [*session.asked("My dog is ill."), Message("assistant", "So what?")]
    return session


@pytest.mark.parametrize(
    ("line", "chosen", "rejected"),
    [
        ("/good", "So what?", None),
        ("/bad", None, "So what?"),
        ("/instead I am sorry to hear that.", "I am sorry to hear that.", "So what?"),
    ],
)
def test_feedback_becomes_a_demonstration(
    session: ChatSession, opened: Callable[[], DemonstrationStore], line: str, chosen: str, rejected: str
) -> None:
    assert "stored as the demonstration" in str(session.run(line))
    with opened() as store:
        (kept,) = store.list()
    assert (kept.chosen, kept.rejected) == (chosen, rejected)
    assert [turn.content for turn in kept.messages] == ["Be brief.", "My dog is ill."]


def test_a_thumb_that_makes_a_tie_says_that_the_answer_is_not_shown(session: ChatSession) -> None:
    session.run("/good")
    assert session.run("/bad") == (
        "stored, but not shown to later answers: the answer has as many thumbs up as down"
    )


def test_the_better_answer_takes_the_place_of_the_last_one(session: ChatSession) -> None:
    session.run("/instead Oh no!")
    assert session.turns[-1] == Message("assistant", "Oh no!")


def test_undo_forgets_the_last_question_and_its_answer(session: ChatSession) -> None:
    session.run("/undo")
    assert session.turns == [Message("system", "Be brief.")]
    for line in ("/undo", "/good", "/instead Oh!"):
        with pytest.raises(InvalidInputError, match="no answer yet"):
            session.run(line)


def test_help_names_each_command_and_quit_leaves(session: ChatSession) -> None:
    told = str(session.run("/help"))
    for name in ("/good", "/bad", "/instead", "/undo", "/quit"):
        assert name in told
    assert session.run("/quit") is session.run("/exit") is None


@pytest.mark.parametrize("line", ["/", "/goood", "/instead", "/instead  ", "/%s{0}"])
def test_what_is_no_command_changes_nothing(session: ChatSession, line: str) -> None:
    before = list(session.turns)
    with pytest.raises(InvalidInputError):
        session.run(line)
    assert session.turns == before


def test_two_slashes_begin_a_message(session: ChatSession) -> None:
    assert session.is_command("/help")
    assert not session.is_command("//help")
    assert not session.is_command("help")
    assert session.asked("//help")[-1] == Message("user", "/help")
