"""`Outcome`: the result of a row: a demonstration, or what waits for the other rows of the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.files.shapes.values import Prompt
from icdpo_chains.messages import Message

__all__ = ["Ballot", "Outcome", "Pointed", "Skipped", "TreeMessage", "Vote"]


@dataclass(frozen=True)
class Skipped:
    """A valid row without a preference, such as a tie."""

    reason: str


@dataclass(frozen=True)
class Vote:
    """A person's opinion of one answer.

    Attributes:
        prompt: the question.
        answer: the answer.
        value: a thumb up (`True`) or down (`False`), or a rating; the scale of ratings follows from the whole
            file.
        column: the column of the value.
        metadata: the other columns.
    """

    prompt: Prompt
    answer: str
    value: bool | float
    column: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ballot:
    """A row whose verdict waits for the end of the file.

    Attributes:
        first: the pair if the first answer is the better one.
        value: the verdict.
        column: the column of the verdict.
        answers: the columns of the two answers.
        ends: what tells their names apart, such as `("1", "2")` or `("a", "b")`.
    """

    first: Demonstration
    value: str
    column: str
    answers: tuple[str, str]
    ends: tuple[str, str]

    def decided(self, order: Mapping[str, int]) -> Demonstration | None:
        """Returns the pair, or `None` for a tie.

        Args:
            order: the position of the better answer, by verdict; other verdicts are ties.
        """
        position = order.get(self.value)
        if not position:
            return None if position is None else self.first
        pair = self.first
        return Demonstration(pair.prompt, pair.rejected, pair.chosen, pair.metadata)


@dataclass(frozen=True)
class Pointed:
    """A list of answers and the position of the best one; the whole file shows from where positions count.

    Attributes:
        position: the position.
        count: the number of answers.
        from_zero: the pairs if positions count from 0; none if there is no such answer.
        from_one: the pairs if positions count from 1.
    """

    position: int
    count: int
    from_zero: tuple[Demonstration, ...]
    from_one: tuple[Demonstration, ...]


@dataclass(frozen=True)
class TreeMessage:
    """A message of a tree; the others of its tree are in other rows.

    Attributes:
        id: the message's own id.
        parent: the id of the message that it answers; `None` for the first message of a tree.
        message: the role and the text.
        rank: its rank among the replies to its parent, the best is the lowest; `None` if it has none.
        metadata: the other columns.
    """

    id: str
    parent: str | None
    message: Message
    rank: float | None
    metadata: Mapping[str, Any]


Outcome: TypeAlias = "Demonstration | Vote | Ballot | Pointed | TreeMessage | Skipped"
