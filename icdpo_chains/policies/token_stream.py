"""`TokenStream`: one continuation as it grows, for a reader in another thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["TokenStream", "settled_text"]

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"


class TokenStream:
    """Tells a reader the text of a continuation while a policy samples it.

    A policy that has to start anew (see `Engine`) takes the tokens that the stream remembers: the text that
    was told stays the beginning of the answer.

    Args:
        on_text: called with the settled text after each token, in the policy's thread. It returns at once and
            does not raise.

    Attributes:
        token_ids: the tokens that were sampled.
    """

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self._on_text = on_text
        self.token_ids: list[int] = []

    def grown(self, token_ids: Sequence[int], text: str, stop: Sequence[str]) -> None:
        """Takes up the tokens sampled so far, their text, and the strings that may end it."""
        if len(token_ids) > len(self.token_ids):
            self.token_ids = list(token_ids)
            self._on_text(settled_text(text, stop))


def settled_text(text: str, stop: Sequence[str]) -> str:
    """Returns the beginning of a text that stays as it is whatever tokens follow.

    Args:
        text: of the tokens sampled so far. A character whose last bytes are missing is a replacement
            character at the end.
        stop: strings that end an answer. The end of the text may be the beginning of one.
    """
    text = text.rstrip(_UNFINISHED)
    held = max(
        (
            size
            for string in stop
            for size in range(1, min(len(string), len(text) + 1))
            if text.endswith(string[:size])
        ),
        default=0,
    )
    return text[: len(text) - held]
