"""`Feedback`: a person's opinion of an answer, and its demonstration."""

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

    A correction makes a pair: the correction is chosen, and the model's answer is rejected. A thumb without a
    correction makes a demonstration with one answer, marked as a vote: see
    `icdpo_chains.demonstrations.pairing`.

    Attributes:
        prompt: the question, or the conversation before the answer.
        answer: the model's answer.
        thumb: the person's vote on the answer.
        correction: the person's better answer.
        metadata: a user, a time, a comment, ...; distinguishes votes.

    Raises:
        InvalidInputError: there is neither a thumb nor a correction, or a thumb up comes with a correction.
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
            raise InvalidInputError("the feedback has no opinion of the answer: give a thumb or a correction")
        if self.thumb == "up" and self.correction not in (None, self.answer):
            raise InvalidInputError("a thumb up and a correction contradict each other: give one of them")

    def demonstration(self) -> Demonstration:
        """Returns the demonstration.

        Raises:
            DemonstrationError: the prompt, the answer or the correction is invalid.
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
            The demonstration in the store, or the pair that now contains it.

        Raises:
            DemonstrationError: see `demonstration`.
            StoreError: the store can't be written.
        """
        given = self.demonstration()
        place = store.add([given]).places.get(given.id, given.id)
        return next(iter(store.get(place)), given)
