"""`check_same_tokens`: compares the model's tokens with those of its local tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from icdpo_chains.errors import TokenizerMismatch

__all__ = ["PROBES", "check_same_tokens"]

PROBES = (
    "The quick brown fox isn't 1,234.56 years old;  it costs $20 in 2026.\n\n\tWhat now?   \r\n  ",
    "Größenwahn, façade, naïve, Ελληνικά, Русский, עברית, العربية, हिन्दी, 日本語、中文 and 한국어",
    "def f(x):\n    return {'a': [x ** 2, \"b\\n\"]}  # <b>&amp;</b>\n🦜🏽 👩‍👩‍👧 e\u0301 \u200b \ufeff",
)
_SPREAD = 256  # tokens of the vocabulary to compare


def check_same_tokens(
    tokenizer: Any,
    tokenize: Callable[[Sequence[str]], Sequence[Sequence[int]]],
    model: str,
    remedy: str,
    *,
    special: str = "",
) -> None:
    """Compares the tokens of a tokenizer and a model, for texts in many scripts and for the whole vocabulary.

    Args:
        tokenizer: the Hugging Face tokenizer.
        tokenize: returns the model's tokens of each text, without special tokens.
        model: a description of the model for the error message.
        remedy: the remedy for the error message.
        special: a further text; empty for none.

    Raises:
        TokenizerMismatch: the tokens differ.
    """
    added = tokenizer.added_tokens_decoder  # built anew at each look
    plain = [token for token in range(len(tokenizer)) if token not in added]
    spread = tokenizer.decode(plain[:: max(1, len(plain) // _SPREAD)], skip_special_tokens=True)
    texts = [text for text in (*PROBES, spread, special) if text]
    for text, theirs in zip(texts, tokenize(texts), strict=True):
        ours = list(tokenizer(text, add_special_tokens=False).input_ids)
        if ours == list(theirs):
            continue
        same = next((i for i, pair in enumerate(zip(ours, theirs, strict=False)) if len(set(pair)) > 1), 0)
        begin = max(0, same - 2)
        raise TokenizerMismatch(
            f"{model} and the local tokenizer read {text[:80]!r} differently: from token {begin} on, "
            f"{list(theirs[begin : begin + 8])} there and {ours[begin : begin + 8]} here. {remedy}"
        )
