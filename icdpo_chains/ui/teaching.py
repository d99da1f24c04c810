"""`teach` and `thumb`: a visitor's opinion of an answer becomes a demonstration, and can be undone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from icdpo_chains.demonstrations.feedback import Feedback
from icdpo_chains.demonstrations.pairing import Thumb, is_tie
from icdpo_chains.errors import InvalidInputError

if TYPE_CHECKING:
    from icdpo_chains.ui.backend import Backend
    from icdpo_chains.ui.session import Session

__all__ = ["Opinion", "teach", "thumb"]

Opinion = Literal["good", "bad", "instead", "edit"]


def teach(backend: Backend, session: Session, opinion: Opinion, place: int, text: str = "") -> str:
    """Records an opinion of a candidate of the last answer.

    Args:
        backend: Holds the store.
        session: The visitor's session.
        opinion: `"good"` and `"bad"` are thumbs. `"instead"` prefers the candidate to the answer that was
            given. `"edit"` prefers a text to the candidate.
        place: The candidate's place in the ranking, from 0.
        text: The text of `"edit"`.

    Returns:
        What happened, in words.

    Raises:
        InvalidInputError: There is no answer yet, no such candidate, or no difference to learn from.
        DemonstrationError: A text can't be stored.
        StoreError: The store can't be written.
    """
    exchange = session.exchange()
    candidates = exchange.result.candidates
    if not 0 <= place < len(candidates):
        raise InvalidInputError(f"no candidate is selected: select one of {len(candidates)}")
    answer = candidates[place].text
    better: str | None = None
    if opinion == "edit":
        better = text.strip()
        if not better:
            raise InvalidInputError("the better answer is blank: write it first")
        if better == answer.strip():
            raise InvalidInputError("the text is the candidate unchanged: edit it first, or call it good")
    elif opinion == "instead":
        better, answer = answer, exchange.result.text
        if better == answer:
            raise InvalidInputError("this candidate is the answer: call it good, or select another one")
    vote: Thumb | None = "up" if opinion == "good" else "down" if opinion == "bad" else None
    feedback = Feedback(exchange.prompt, answer, vote, better)
    told = _record(backend, session, feedback, "thumb" if better is None else "better answer")
    if better is not None:
        session.answer_instead(better)
    return told


def _record(backend: Backend, session: Session, feedback: Feedback, what: str) -> str:
    with backend.writing() as store, session.changes.recording(store, what) as recorder:
        recorder.note([feedback.demonstration()])
        kept = feedback.record(store)
    if is_tie(kept):
        return (
            "Stored, but the answer is not shown to the model: it has as many thumbs up as down. Undo, or "
            "another thumb, decides."
        )
    pair = "a pair" if kept.is_pair else "one answer"
    what_next = "Ask again, in the tab Teach, shows what it changes."
    return f"Stored as the demonstration {kept.id[:12]}, with {pair}. {what_next}"


def thumb(backend: Backend, session: Session, turn: int, up: bool) -> str:
    """Records a thumb on an answer of the conversation; returns what happened, in words.

    Args:
        backend: Holds the store.
        session: The visitor's session.
        turn: The answer's place among the turns.
        up: Whether it is a thumb up.

    Raises:
        InvalidInputError: There is no such answer.
        DemonstrationError: A text can't be stored.
        StoreError: The store can't be written.
    """
    if turn >= len(session.turns) and session.running is not None:
        raise InvalidInputError("this answer is not complete yet: wait for its end, or stop it")
    if not 0 <= turn < len(session.turns) or session.turns[turn].role != "assistant":
        raise InvalidInputError(
            "this is no answer of the conversation: the page may be out of date, reload it"
        )
    feedback = Feedback(session.turns[:turn], session.turns[turn].content, "up" if up else "down")
    return _record(backend, session, feedback, "thumb")
