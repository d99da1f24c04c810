"""Opinions become demonstrations, and can be undone."""

import asyncio

import pytest

from icdpo_chains import Demonstration
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.ui.backend import Backend
from icdpo_chains.ui.demonstration_actions import undo
from icdpo_chains.ui.session import Exchange, Session
from icdpo_chains.ui.teaching import teach, thumb

EGG = "How do I boil an egg?"


@pytest.fixture
def taught(backend: Backend, session: Session) -> Session:
    """A session with an answer."""
    prompt = session.asked(EGG)
    session.answered(Exchange(prompt, backend.icdpo.generate(prompt, seed=1)))
    return session


def stored(backend: Backend) -> list[tuple[str | None, str | None]]:
    found = [item for item in backend.store if item.prompt == EGG]
    return [(item.chosen, item.rejected) for item in found]


def texts(session: Session) -> list[str]:
    return [candidate.text for candidate in session.exchange().result.candidates]


def test_thumbs(backend: Backend, taught: Session) -> None:
    best, second, *_ = texts(taught)
    assert "one answer" in teach(backend, taught, "good", 1)
    assert stored(backend) == [(second, None)]
    assert "a pair" in teach(backend, taught, "bad", 0)
    assert stored(backend) == [(second, best)]
    assert taught.turns[-1].content == best


def test_another_candidate_instead(backend: Backend, taught: Session) -> None:
    best, second, *_ = texts(taught)
    teach(backend, taught, "instead", 1)
    assert stored(backend) == [(second, best)]
    assert taught.turns[-1].content == second


def test_an_edited_candidate(backend: Backend, taught: Session) -> None:
    second = texts(taught)[1]
    teach(backend, taught, "edit", 1, "  Gently.\n")
    assert stored(backend) == [("Gently.", second)]
    assert taught.turns[-1].content == "Gently."


def test_the_next_question_is_shown_what_was_taught(backend: Backend, taught: Session) -> None:
    teach(backend, taught, "edit", 0, "Gently.")
    shown = backend.icdpo.generate(EGG).demonstrations
    assert Demonstration(EGG, "Gently.", texts(taught)[0]).id in [found.demonstration.id for found in shown]


@pytest.mark.parametrize(
    ("opinion", "place", "text", "message"),
    [
        ("good", 3, "", "select one of 3"),
        ("good", -1, "", "select one of 3"),
        ("instead", 0, "", "this candidate is the answer"),
        ("edit", 0, " ", "the better answer is blank"),
        ("edit", 0, None, "unchanged"),
    ],
    ids=["beyond", "none", "same", "blank", "unchanged"],
)
def test_what_teaches_nothing_is_refused(
    backend: Backend, taught: Session, opinion: str, place: int, text: str | None, message: str
) -> None:
    before = len(backend.store)
    with pytest.raises(InvalidInputError, match=message):
        teach(backend, taught, opinion, place, texts(taught)[0] if text is None else text)  # type: ignore[arg-type]
    assert len(backend.store) == before
    assert taught.changes.last is None


def test_thumbs_in_the_conversation(backend: Backend, taught: Session) -> None:
    thumb(backend, taught, 1, up=False)
    assert stored(backend) == [(None, texts(taught)[0])]
    for turn in (0, 2, -1):
        with pytest.raises(InvalidInputError, match="no answer of the conversation"):
            thumb(backend, taught, turn, up=True)


def test_a_thumb_that_makes_a_tie_says_that_the_answer_is_not_shown(
    backend: Backend, taught: Session
) -> None:
    assert thumb(backend, taught, 1, up=True).startswith("Stored as the demonstration")
    told = thumb(backend, taught, 1, up=False)
    assert told.startswith(
        "Stored, but the answer is not shown to the model: it has as many thumbs up as down."
    )
    shown = [found.demonstration.prompt for found in backend.icdpo.generate(EGG).demonstrations]
    assert shown
    assert EGG not in shown
    undo(backend.store, taught.changes)
    assert stored(backend) == [(texts(taught)[0], None)]


async def test_a_thumb_on_a_growing_answer_is_early(backend: Backend, taught: Session) -> None:
    taught.running = asyncio.ensure_future(asyncio.sleep(0))
    with pytest.raises(InvalidInputError, match="not complete yet: wait"):
        thumb(backend, taught, 3, up=True)
    thumb(backend, taught, 1, up=True)
    assert stored(backend) == [(texts(taught)[0], None)]


def test_undo(backend: Backend, taught: Session) -> None:
    before = [item.to_dict() for item in backend.store]
    teach(backend, taught, "good", 1)
    teach(backend, taught, "bad", 0)  # a pair with the thumb
    assert undo(backend.store, taught.changes) == "Undone: thumb"
    assert stored(backend) == [(texts(taught)[1], None)]
    undo(backend.store, taught.changes)
    assert [item.to_dict() for item in backend.store] == before


def test_a_change_of_somebody_else_stays(backend: Backend, taught: Session) -> None:
    teach(backend, taught, "good", 1)
    backend.store.add([Demonstration(EGG, "Mine.", "Yours.")])
    assert undo(backend.store, taught.changes).startswith("Not undone: thumb.")
    assert len(stored(backend)) == 2
