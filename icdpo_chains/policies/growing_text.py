"""`GrowingText`: the text of tokens that are sampled one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["GrowingText", "decoded"]

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"


class GrowingText:
    """Decodes a continuation after each of its tokens.

    To decode all tokens each time would take a time quadratic in their number. The text of a byte-level
    tokenizer is that of its tokens' bytes, one after the other: what ends with a whole character is decoded
    once. Other decoders look at a token's neighbours, and decode all tokens.

    Args:
        tokenizer: the tokenizer of the tokens.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._splits = _decodes_bytes(tokenizer)
        self._count, self._text = 0, ""  # the tokens that are decoded for good, and their text

    def of(self, token_ids: Sequence[int]) -> str:
        """Returns the text of tokens, equal to `decoded`.

        Args:
            token_ids: the tokens of the call before, followed by any others.
        """
        text = self._text + decoded(self._tokenizer, token_ids[self._count :])
        if self._splits and not text.endswith(_UNFINISHED):
            self._count, self._text = len(token_ids), text
        return text


def decoded(tokenizer: Any, token_ids: Sequence[int]) -> str:
    """Returns the text of tokens, without control tokens."""
    return str(tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _decodes_bytes(tokenizer: Any) -> bool:
    """Whether the text of tokens is the text of their bytes."""
    from tokenizers.decoders import ByteLevel
    from transformers import PreTrainedTokenizerFast

    kind = type(tokenizer)
    return (
        isinstance(tokenizer, PreTrainedTokenizerFast)
        and kind.decode is PreTrainedTokenizerFast.decode
        and kind._decode is PreTrainedTokenizerFast._decode
        and isinstance(tokenizer.backend_tokenizer.decoder, ByteLevel)
    )
