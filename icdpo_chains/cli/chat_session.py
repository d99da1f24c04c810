"""`ChatSession`: the turns of `icdpo chat`, and its commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.messages import Message

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.pairing import Thumb
    from icdpo_chains.demonstrations.store import DemonstrationStore

__all__ = ["ChatSession"]

_HELP = """\
/good           the last answer is good: a demonstration for later answers
/bad            the last answer is bad
/instead TEXT   the answer that you would like better
/undo           forget the last question and its answer
/quit           leave (so does Ctrl-D)
//...           a message that begins with a slash"""


class ChatSession:
    """A conversation with commands.

    Args:
        open_store: opens the store of the demonstrations for writing.
        system: a system message, or `None`.

    Attributes:
        turns: the conversation so far.
    """

    def __init__(self, open_store: Callable[[], DemonstrationStore], system: str | None = None) -> None:
        self._open_store = open_store
        self.turns: list[Message] = [Message("system", system)] if system else []

    def asked(self, line: str) -> list[Message]:
        """Returns the conversation with a question at its end; the session does not change."""
        return [*self.turns, Message("user", line.removeprefix("/") if line.startswith("//") else line)]

    def is_command(self, line: str) -> bool:
        """Whether a line is a command, and not a message."""
        return line.startswith("/") and not line.startswith("//")

    def run(self, line: str) -> str | None:
        """Runs a command.

        Returns:
            The message for the user; `None` to leave.

        Raises:
            InvalidInputError: the command is unknown, or there is no answer yet.
            DemonstrationError, StoreError: the feedback can't be stored.
        """
        name, _, text = line.partition(" ")
        if name in ("/quit", "/exit"):
            return None
        if name == "/help":
            return _HELP
        if name == "/undo":
            self._last()
            del self.turns[-2:]
            return "forgotten: the last question and its answer"
        if name in ("/good", "/bad"):
            return self._record("up" if name == "/good" else "down", None)
        if name == "/instead":
            if not text.strip():
                raise InvalidInputError("/instead needs the better answer: /instead TEXT")
            message = self._record(None, text.strip())
            self.turns[-1] = Message("assistant", text.strip())
            return message
        raise InvalidInputError(f"the command {name[:40]} is unknown: /help lists the commands")

    def _last(self) -> Message:
        if not self.turns or self.turns[-1].role != "assistant":
            raise InvalidInputError("there is no answer yet: ask something first")
        return self.turns[-1]

    def _record(self, thumb: Thumb | None, correction: str | None) -> str:
        from icdpo_chains.demonstrations.feedback import Feedback
        from icdpo_chains.demonstrations.pairing import is_tie

        answer = self._last().content
        given = Feedback(self.turns[:-1], answer, thumb, correction)
        with self._open_store() as store:
            kept = given.record(store)
        if is_tie(kept):
            return "stored, but not shown to later answers: the answer has as many thumbs up as down"
        return f"stored as the demonstration {kept.id[:12]}: later answers may be shown it"
