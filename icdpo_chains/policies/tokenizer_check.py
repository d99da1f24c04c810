"""`check_same_tokens`: does the model read text as its tokenizer here does?"""

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
_SPREAD = 256  # tokens of the vocabulary that are looked at


def check_same_tokens(
    tokenizer: Any,
    tokenize: Callable[[Sequence[str]], Sequence[Sequence[int]]],
    model: str,
    remedy: str,
    *,
    special: str = "",
) -> None:
    """Compares what a tokenizer and a model make of texts in many scripts, and of the whole vocabulary.

    Args:
        tokenizer: the Hugging Face tokenizer.
        tokenize: returns what the model makes of each text, without tokens of its own.
        model: what the model is, for the error message.
        remedy: what to do, for the error message.
        special: a further text; empty for none.

    Raises:
        TokenizerMismatch: they differ.
    """
    plain = [token for token in range(len(tokenizer)) if token not in tokenizer.added_tokens_decoder]
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
