"""`Session`: the page's memory of one visitor: a conversation, the last answer, settings, changes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from icdpo_chains.demonstrations.changes import Changes
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.messages import Message

if TYPE_CHECKING:
    from icdpo_chains.draft import Answer
    from icdpo_chains.result import ICDPOResult

__all__ = ["NEW_CHAT", "Exchange", "Session"]

NEW_CHAT = "New chat"
"""The label of the button that begins a new conversation."""

_MOST_TURNS = 100


@dataclass(frozen=True)
class Exchange:
    """A question and its answer.

    Attributes:
        prompt: The conversation up to the question.
        result: The candidates.
        bare: The model's answer without demonstrations, if the visitor asked for it.
    """

    prompt: tuple[Message, ...]
    result: ICDPOResult
    bare: Answer | None = None

    @property
    def question(self) -> str:
        """The text of the question."""
        return self.prompt[-1].text


@dataclass
class Session:
    """What the page knows about one visitor. Each browser tab has its own.

    Attributes:
        turns: The conversation, which ends with an answer; empty at first.
        last: The last question and its answer.
        changes: The demonstrations that this visitor added, to be undone.
        settings: The settings in which this visitor differs from the server.
        running: The question that is being answered, to be stopped.
        chats: How often the conversation has begun anew: an answer to an earlier one is dropped.
    """

    turns: tuple[Message, ...] = ()
    last: Exchange | None = None
    changes: Changes = field(default_factory=Changes)
    settings: dict[str, Any] = field(default_factory=dict)
    running: asyncio.Task[Any] | None = None
    chats: int = 0

    def asked(self, question: str) -> tuple[Message, ...]:
        """Returns the conversation with a question at its end; the session does not change.

        Raises:
            InvalidInputError: The question is blank, or the conversation is at its longest.
        """
        if not question.strip():
            raise InvalidInputError("the question is blank: write something first")
        if len(self.turns) >= _MOST_TURNS:
            raise InvalidInputError(
                f'the conversation has {len(self.turns)} turns, the limit: press "{NEW_CHAT}"'
            )
        return (*self.turns, Message("user", question))

    def answered(self, exchange: Exchange) -> None:
        """Remembers a question and its answer."""
        self.last = exchange
        self.turns = (*exchange.prompt, Message("assistant", exchange.result.text))

    def answer_instead(self, text: str) -> None:
        """Puts a person's better answer into the conversation, in place of the last one."""
        self.turns = (*self.turns[:-1], Message("assistant", text))

    def exchange(self) -> Exchange:
        """Returns the last question and its answer.

        Raises:
            InvalidInputError: There is none yet.
        """
        if self.last is None:
            raise InvalidInputError("there is no answer yet: ask something first")
        return self.last

    def stop(self) -> None:
        """Stops the question that is being answered, if there is one; on the event loop only."""
        if self.running is not None:
            self.running.cancel()

    def begin_again(self) -> None:
        """Forgets the conversation, and stops its question; settings and changes stay. See `stop`."""
        self.stop()
        self.turns, self.last = (), None
        self.chats += 1
