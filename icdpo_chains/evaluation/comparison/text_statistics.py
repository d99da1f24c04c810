"""`TextStatistics`: counts over answers that need no model."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["TextStatistics", "describe", "distinct_n", "is_refusal", "ngrams", "repetition", "words"]

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_APOSTROPHES = dict.fromkeys(map(ord, "’‘ʼ´`＇‛′"), "'")
_HEAD = 200

# The declined action: without it "I can't believe it" would be a refusal.
_HELPING = (
    r"(?:help|assist|support|advise|answer|respond|comply|fulfil|oblige|provide|give|offer|share|tell|show|"
    r"teach|explain|describe|discuss|write|create|produce|generate|engage|participate|encourage|condone|"
    r"promote|endorse|recommend|suggest|continue|do (?:that|this|so|it))\b"
)
_REFUSAL = re.compile(
    r"\bi (?:really |simply |just )?(?:can'?t|can ?not|couldn'?t|won'?t|will not|wouldn'?t) "
    rf"(?:be able to )?(?:\w+ly )?{_HELPING}"
    rf"|\bi(?:'m| am) (?:\w+ )?(?:not able|unable|not allowed|not going) to (?:\w+ly )?{_HELPING}"
    r"|\bi(?:'ll| will)? (?:must|have to|need to) (?:\w+ly )?(?:decline|refuse|say no)\b"
    rf"|\bi do(?:n'?t| not) think i (?:can|could|should) {_HELPING}"
    r"|\bi (?:refuse|decline) to\b"
    r"|\bi(?:'m| am) not (?:comfortable|willing)\b"
    r"|\bi do(?:n'?t| not) feel comfortable\b"
    r"|\b(?:this|that|your) request can(?:'?t| ?not) be\b"
)


@dataclass(frozen=True)
class TextStatistics:
    """Counts over a set of answers; NaN if there is nothing to count.

    Attributes:
        count: the number of answers.
        words: the mean number of words per answer; see `words`.
        characters: the mean number of characters (code points) per answer.
        distinct_1: see `distinct_n`.
        distinct_2: the same for pairs of words.
        repetition: the mean repetition of an answer; see `repetition`.
        refusal_rate: the share of refusals; see `is_refusal`.
        empty_rate: the share of blank answers.
    """

    count: int
    words: float
    characters: float
    distinct_1: float
    distinct_2: float
    repetition: float
    refusal_rate: float
    empty_rate: float


def describe(texts: Sequence[str]) -> TextStatistics:
    """Counts over a set of answers."""
    return TextStatistics(
        count=len(texts),
        words=_mean([len(words(text)) for text in texts]),
        characters=_mean([len(text) for text in texts]),
        distinct_1=distinct_n(texts, 1),
        distinct_2=distinct_n(texts, 2),
        repetition=_mean([repetition(text) for text in texts]),
        refusal_rate=_mean([is_refusal(text) for text in texts]),
        empty_rate=_mean([not text.strip() for text in texts]),
    )


def words(text: str) -> list[str]:
    """Returns a text's words in lower case: runs of letters, digits and inner apostrophes, no punctuation.

    Scripts that put no space between words count as one word up to the next punctuation: compare the
    characters there.
    """
    return _WORD.findall(text.lower())


def ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    """Returns each n words in a row.

    Raises:
        ValueError: n is below 1.
    """
    if n < 1:
        raise ValueError(f"n is {n}, and must be at least 1")
    found = words(text)
    return [tuple(found[i : i + n]) for i in range(len(found) - n + 1)]


def distinct_n(texts: Sequence[str], n: int) -> float:
    """Returns the share of distinct n-grams in these texts (Li et al. 2016, arXiv 1510.03055).

    Longer texts repeat more: compare only sets with about the same number of words.

    Args:
        texts: the answers; n-grams do not cross answers.
        n: the number of words of an n-gram.

    Returns:
        From above 0 (all the same) to 1 (all distinct); NaN if there is no n-gram.

    Raises:
        ValueError: n is below 1.
    """
    found = [ngram for text in texts for ngram in ngrams(text, n)]
    return len(set(found)) / len(found) if found else math.nan


def repetition(text: str, n: int = 4) -> float:
    """Returns the share of a text's n-grams that occur earlier in the text.

    Args:
        text: the answer.
        n: the number of words of an n-gram.

    Returns:
        From 0 to below 1; 0 for a text of fewer than n words.

    Raises:
        ValueError: n is below 1.
    """
    found = ngrams(text, n)
    return 1 - len(set(found)) / len(found) if found else 0.0


def is_refusal(text: str) -> bool:
    """Returns whether an English answer begins by declining to help.

    Looks for phrases of the first person ("I can't help", "I'm not able to provide", "I have to decline") in
    the first 200 characters. It misses refusals in other words ("That would be wrong."), in other languages
    or later in the text, and counts an answer that first refuses and then helps. Use it to compare systems,
    not to judge a single answer.
    """
    head = " ".join(text.translate(_APOSTROPHES).casefold().split())[:_HEAD]
    return _REFUSAL.search(head) is not None


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
