"""`DemonstrationForm`: a demonstration as the texts of a form, and back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.errors import DemonstrationError
from icdpo_chains.foundation.printable import printable
from icdpo_chains.messages import Conversation

__all__ = ["DemonstrationForm", "PromptKind"]

PromptKind = Literal["question", "messages"]


@dataclass(frozen=True)
class DemonstrationForm:
    """The texts of a form.

    Attributes:
        kind: whether `prompt` is one question, or messages as JSON.
        prompt: the prompt.
        chosen: the chosen answer; blank for none.
        rejected: the rejected answer; blank for none.
        metadata: a JSON object; blank for none.
    """

    kind: PromptKind = "question"
    prompt: str = ""
    chosen: str = ""
    rejected: str = ""
    metadata: str = ""

    @classmethod
    def of(cls, item: Demonstration) -> DemonstrationForm:
        """Returns a demonstration's form."""
        single = len(item.messages) == 1 and item.messages[0].role == "user"
        turns = [message.to_dict() for message in item.messages]
        return cls(
            "question" if single else "messages",
            item.messages[0].content if single else json.dumps(turns, indent=2, ensure_ascii=False),
            item.chosen or "",
            item.rejected or "",
            json.dumps(dict(item.metadata), indent=2, ensure_ascii=False) if item.metadata else "",
        )

    def demonstration(self, old: Demonstration | None = None) -> Demonstration:
        """Returns the demonstration.

        Args:
            old: the demonstration that the form was filled with. A text that was not edited stays exactly as
                it was: browsers turn every line end of a form into a line feed.

        Raises:
            DemonstrationError: a text is unusable.
        """
        before = DemonstrationForm() if old is None else DemonstrationForm.of(old)
        prompt = _unedited(self.prompt, before.prompt)
        conversation: Conversation = prompt if self.kind == "question" else _json(prompt, "the prompt")
        if self.kind == "messages" and not isinstance(conversation, list):
            raise DemonstrationError('the messages must be a list: [{"role": "user", "content": "..."}]')
        if old is not None and (self.kind, prompt) == (before.kind, before.prompt):
            conversation = old.prompt
        metadata = _json(self.metadata, "the metadata") if self.metadata.strip() else {}
        if not isinstance(metadata, dict):
            raise DemonstrationError('the metadata must be an object: {"source": "..."}')
        chosen = _unedited(self.chosen, before.chosen) if self.chosen.strip() else None
        rejected = _unedited(self.rejected, before.rejected) if self.rejected.strip() else None
        try:
            return Demonstration(conversation, chosen, rejected, metadata)
        except TypeError as error:
            raise DemonstrationError(str(error)) from None

    @property
    def invisible(self) -> bool:
        """Whether a text has control characters, which a form shows as nothing or as another order."""
        texts = (self.prompt, self.chosen, self.rejected, self.metadata)
        return any(printable(text) != text for text in texts)


def _unedited(given: str, shown: str) -> str:
    return shown if _line_feeds(given) == _line_feeds(shown) else given


def _line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise DemonstrationError(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise DemonstrationError(f"{what} is not JSON: {error}") from None
