"""The text of a thought and its end: where a closing tag or a call ends it, and the text that closes it."""

from __future__ import annotations

import re

from icdpo_chains.reasoning.tags import ReasoningTags

__all__ = ["CALL", "closing", "closing_text", "is_channel", "nested_closing", "thought_text"]

CALL = re.compile(r"<\|channel\|>commentary to=|<\|start\|>assistant to=|\A to=functions\.")
"""The beginning of a call of gpt-oss, whose recipient stands in the channel's name or in the role's."""

_BETWEEN_MESSAGES = re.compile(
    r"<\|end\|>(?:<\|start\|>assistant)?(?:<\|channel\|>analysis<\|message\|>)?|<\|start\|>assistant"
)

_CALL_LENGTH = 32
"""The maximum number of characters of a match of `CALL`."""


def closing(tags: ReasoningTags, text: str, at: int) -> tuple[int, int] | None:
    """Returns the positions before and after the first closing tag.

    Args:
        tags: the tags of the thought.
        text: the text with the thought.
        at: a position in the thought.
    """
    end = text.find(tags.closing, at)
    if is_channel(tags):
        # A call of gpt-oss follows a thought without a final channel. The limit of the search keeps several
        # thoughts in a row linear.
        call = CALL.search(text, at, len(text) if end < 0 else end + _CALL_LENGTH)
        if call and (end < 0 or call.start() < end):
            return call.start(), call.start()
    return None if end < 0 else (end, end + len(tags.closing))


def nested_closing(tags: ReasoningTags, text: str, at: int) -> tuple[int, int] | None:
    """Returns the positions around the closing tag of a thought that has thoughts within it.

    `None` if a tag within the thought is not closed: such as a tag that the thought only mentions.

    Args:
        tags: the tags of the thought.
        text: the text with the thought.
        at: a position in the thought, before the thoughts within it.
    """
    depth = 1
    either = re.compile(f"{re.escape(tags.opening)}|{re.escape(tags.closing)}")
    for tag in either.finditer(text, at):
        depth += 1 if tag[0] == tags.opening else -1
        if depth == 0:
            return tag.span()
    return None


def closing_text(tags: ReasoningTags) -> str:
    """Returns the text that closes a thought."""
    return f"<|end|><|start|>assistant{tags.closing}" if is_channel(tags) else f"\n{tags.closing}\n\n"


def is_channel(tags: ReasoningTags) -> bool:
    """Whether the tags are the channels of gpt-oss."""
    return tags.opening.startswith("<|channel|>")


def thought_text(raw: str) -> str | None:
    """Returns a thought without the marks between its messages; `None` for an empty thought."""
    return _BETWEEN_MESSAGES.sub("\n", raw).strip() or None
