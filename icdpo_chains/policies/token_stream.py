"""`TokenStream`: streams one continuation to a reader in another thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["OtherTokensError", "RepeatedStream", "TokenStream", "settled_text"]

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"


class TokenStream:
    """Sends the text of a continuation to a reader while a policy samples it.

    A policy that restarts (see `Engine`) repeats the tokens of the stream: the text already sent stays the
    beginning of the answer.

    Args:
        on_text: called with the settled text after each token, in the policy's thread. It must return at once
            and not raise.

    Attributes:
        token_ids: the sampled tokens.
    """

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self._on_text = on_text
        self.token_ids: list[int] = []

    def grown(self, token_ids: Sequence[int], text: str, stop: Sequence[str]) -> None:
        """Receives the tokens sampled so far, their text, and the stop strings."""
        if len(token_ids) > len(self.token_ids):
            self.token_ids = list(token_ids)
            self._on_text(settled_text(text, stop))


class OtherTokensError(Exception):
    """A repeated computation has chosen other tokens than those that were streamed."""


class RepeatedStream(TokenStream):
    """The stream of a computation that begins again with the same seed: the tokens repeat themselves.

    Forced tokens would use up other random numbers than sampled ones, so that the tokens after them would
    differ. Nothing is forced here.

    Args:
        stream: the stream of the first computation; it receives the tokens after its own.
    """

    def __init__(self, stream: TokenStream) -> None:
        super().__init__(stream._on_text)
        self._stream = stream

    def grown(self, token_ids: Sequence[int], text: str, stop: Sequence[str]) -> None:
        """Passes on the tokens.

        Raises:
            OtherTokensError: the tokens differ from those of the first computation.
        """
        streamed = self._stream.token_ids[: len(token_ids)]
        if list(token_ids[: len(streamed)]) != streamed:
            raise OtherTokensError
        self._stream.grown(token_ids, text, stop)


def settled_text(text: str, stop: Sequence[str]) -> str:
    """Returns the beginning of a text that no later token can change.

    Args:
        text: the text of the tokens so far. An incomplete character is a replacement character at the end.
        stop: strings that end an answer. The text may end with the beginning of a stop string.
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
