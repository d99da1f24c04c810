"""`Feedback`: what a person thought of an answer, and the demonstration that it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.pairing import Thumb
from icdpo_chains.errors import DemonstrationError, InvalidInputError
from icdpo_chains.messages import Conversation, as_conversation

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.store import DemonstrationStore

__all__ = ["Feedback"]


@dataclass(frozen=True)
class Feedback:
    """A thumb, a correction, or both, on one answer.

    A correction is the chosen answer of a pair, whose rejected answer is the answer that was given. A thumb
    without a correction is a demonstration with one answer, marked as a vote: see
    `icdpo_chains.demonstrations.pairing`.

    Attributes:
        prompt: the question, or the conversation before the answer.
        answer: the answer that was given.
        thumb: what the person thought of the answer.
        correction: the answer that the person would have liked.
        metadata: a user, a time, a comment, ...; tells two votes apart.

    Raises:
        InvalidInputError: neither a thumb nor a correction, or a thumb up with a correction.
    """

    prompt: Conversation
    answer: str
    thumb: Thumb | None = None
    correction: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.thumb is not None and self.thumb not in get_args(Thumb):
            raise InvalidInputError(f"thumb is {self.thumb!r:.40}, and must be 'up' or 'down'")
        if self.thumb is None and self.correction is None:
            raise InvalidInputError("the feedback says nothing of the answer: give a thumb or a correction")
        if self.thumb == "up" and self.correction not in (None, self.answer):
            raise InvalidInputError(
                "a thumb up says that the answer is good, and a correction that another is better: give one "
                "of them"
            )

    def demonstration(self) -> Demonstration:
        """Returns the demonstration.

        Raises:
            DemonstrationError: the prompt, the answer or the correction can't be used.
        """
        try:
            turns = as_conversation(self.prompt)
        except InvalidInputError as error:
            raise DemonstrationError(str(error)) from None
        prompt = turns[0].content if len(turns) == 1 and turns[0].role == "user" else turns
        metadata = {"source": "feedback", **self.metadata}
        if self.correction is not None and self.thumb != "up":
            return Demonstration(prompt, self.correction, self.answer, metadata)
        metadata["thumb"] = self.thumb
        if self.thumb == "up":
            return Demonstration(prompt, self.answer, None, metadata)
        return Demonstration(prompt, None, self.answer, metadata)

    def record(self, store: DemonstrationStore) -> Demonstration:
        """Adds the demonstration to a store that is open for writing.

        Returns:
            What the store holds now: the demonstration, or the pair that it has become a part of.

        Raises:
            DemonstrationError: see `demonstration`.
            StoreError: the store can't be written.
        """
        given = self.demonstration()
        place = store.add([given]).places.get(given.id, given.id)
        return next(iter(store.get(place)), given)
