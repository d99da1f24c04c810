"""What a person thought of an answer, as a demonstration."""

from __future__ import annotations

from typing import Any

import pytest

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.feedback import Feedback
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import DemonstrationError, InvalidInputError


@pytest.mark.parametrize(
    ("given", "chosen", "rejected"),
    [
        ({"thumb": "up"}, "Tea.", None),
        ({"thumb": "down"}, None, "Tea."),
        ({"thumb": "down", "correction": "Green tea."}, "Green tea.", "Tea."),
        ({"correction": "Green tea."}, "Green tea.", "Tea."),
        ({"thumb": "up", "correction": "Tea."}, "Tea.", None),
    ],
    ids=str,
)
def test_it_becomes_a_demonstration(
    store: DemonstrationStore, given: dict[str, Any], chosen: str | None, rejected: str | None
) -> None:
    feedback = Feedback("What do I drink?", "Tea.", **given, metadata={"user": 1})
    marked = {} if chosen and rejected else {"thumb": given["thumb"]}
    expected = Demonstration(
        "What do I drink?", chosen, rejected, {"source": "feedback", "user": 1, **marked}
    )
    assert feedback.demonstration() == expected
    assert feedback.record(store) == expected
    assert list(store) == [expected]


def test_the_answer_is_what_the_store_holds_now(store: DemonstrationStore) -> None:
    Feedback("What do I drink?", "Tea.", "up").record(store)
    pair = Feedback("What do I drink?", "Bleach.", "down").record(store)
    assert (pair.chosen, pair.rejected) == ("Tea.", "Bleach.")
    assert list(store) == [pair]


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({}, InvalidInputError, "give a thumb or a correction"),
        ({"thumb": "UP"}, InvalidInputError, "must be 'up' or 'down'"),
        ({"thumb": "up", "correction": "Green tea."}, InvalidInputError, "give one of them"),
        ({"correction": "Tea."}, DemonstrationError, "the same"),
        ({"thumb": "down", "correction": " "}, DemonstrationError, "blank"),
    ],
    ids=str,
)
def test_what_contradicts_itself_is_refused(
    store: DemonstrationStore, given: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        Feedback("What do I drink?", "Tea.", **given).record(store)
    assert len(store) == 0
