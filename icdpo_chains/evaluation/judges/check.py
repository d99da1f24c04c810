"""`Check`: a reward by the user's own function, for answers that a program can check."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.messages import Conversation, as_conversation

__all__ = ["Check"]


class Check:
    """Rewards an answer by the result of a function: `True` is 1, `False` is 0.

    Args:
        function: takes the last message of a conversation and an answer; returns a bool or a finite number.
        name: names the reward in results.
    """

    def __init__(self, function: Callable[[str, str], Any], name: str = "check") -> None:
        self._function, self.name = function, name

    @classmethod
    def load(cls, place: str) -> Check:
        """Imports a function, also from a module in the current directory.

        Args:
            place: `module:function`.

        Raises:
            InvalidInputError: the place has another form, the module can't be imported, or the module has no
                such function.
        """
        module, colon, name = place.partition(":")
        if not (module and colon and name):
            raise InvalidInputError(f"the check {place!r} names no function: use MODULE:FUNCTION")
        here = str(Path.cwd())
        sys.path.insert(0, here)
        try:
            function = getattr(importlib.import_module(module), name, None)
        except Exception as error:
            raise InvalidInputError(
                f"the module of the check {place!r} can't be imported: {error}"
            ) from error
        finally:
            sys.path.remove(here)
        if not callable(function):
            raise InvalidInputError(
                f"the module {module!r} has no function {name!r}: define it, or name another"
            )
        return cls(function, place)

    def rewards(self, conversations: Sequence[Conversation], responses: Sequence[str]) -> list[float]:
        """Returns the reward of each response to its conversation.

        Raises:
            InvalidInputError: the function fails, or returns neither a bool nor a finite number.
        """
        return [
            self._reward(as_conversation(conversation)[-1].content, response)
            for conversation, response in zip(conversations, responses, strict=True)
        ]

    def _reward(self, question: str, answer: str) -> float:
        try:
            found = self._function(question, answer)
        except Exception as error:
            raise InvalidInputError(
                f"the check {self.name} fails for the answer {answer!r:.80}: {error!r:.200}"
            ) from error
        if not isinstance(found, (bool, int, float)) or not math.isfinite(found):
            raise InvalidInputError(
                f"the check {self.name} returns {found!r:.80} for the answer {answer!r:.80}: return a bool "
                "or a finite number"
            )
        return float(found)
