"""`BM25Index`: which prompts share rare words with a query."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["BM25Index", "tokenize"]

# Chinese, Japanese and Korean are written without spaces: there each character counts as a word.
_SCRIPT = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af"
_TOKEN = re.compile(rf"[{_SCRIPT}]|[^\W{_SCRIPT}]+")
_K1, _B = 1.5, 0.75


def tokenize(text: str) -> list[str]:
    """Returns the lower-case words of a text, in any script; no stemming, no stop words."""
    # An é typed as one character and as two is the same é.
    return _TOKEN.findall(unicodedata.normalize("NFC", text.lower()))


class BM25Index:
    """Lucene's variant of BM25 (k1 = 1.5, b = 0.75) over texts that do not change.

    The scores of each (token, text) that occurs are computed once, in bulk, and laid out by token: so a
    hundred thousand texts are indexed in seconds, and a query adds up as many slices as it has tokens. The
    numbers are those of `bm25s`, whose own indexing takes several times as long.

    Args:
        texts: what is searched; a row is its place here.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._vocabulary: defaultdict[str, int] = defaultdict()
        self._vocabulary.default_factory = self._vocabulary.__len__  # a new token gets the next number
        lengths: list[int] = []

        def words() -> Iterator[list[str]]:
            for text in texts:
                words = tokenize(text)
                lengths.append(len(words))
                yield words

        numbers = map(self._vocabulary.__getitem__, itertools.chain.from_iterable(words()))
        tokens = np.fromiter(numbers, dtype=np.int64)
        self._vocabulary.default_factory = None
        self._size = len(lengths)
        # One number for each (token, text): sorted, they are grouped by token, with equals side by side.
        pairs = np.sort(tokens * self._size + np.repeat(np.arange(self._size), lengths))
        first = np.flatnonzero(np.diff(pairs, prepend=-1))
        counts = np.diff(first, append=len(pairs))
        token, self._rows = np.divmod(pairs[first], max(self._size, 1))
        found_in = np.bincount(token, minlength=len(self._vocabulary))
        self._begin = np.concatenate([[0], np.cumsum(found_in)])
        rarity = np.log1p((self._size - found_in + 0.5) / (found_in + 0.5))
        relative = np.array(lengths) / max(len(tokens) / max(self._size, 1), 1e-9)
        damping = _K1 * (1 - _B + _B * relative)
        self._scores = (rarity[token] * counts / (counts + damping[self._rows])).astype(np.float32)

    def scores(self, tokens: Sequence[str]) -> NDArray[np.float32]:
        """Returns the score of each text, float32 [texts]; a token that no text holds counts nothing."""
        total = np.zeros(self._size, dtype=np.float32)
        for token in tokens:
            number = self._vocabulary.get(token)
            if number is not None:
                part = slice(self._begin[number], self._begin[number + 1])
                total[self._rows[part]] += self._scores[part]
        return total

    def best(self, tokens: Sequence[str], count: int, allowed: NDArray[np.bool_]) -> list[tuple[int, float]]:
        """Returns the allowed rows that score above 0 and their scores, best first, at most `count`.

        Ties stand in the order of the texts.
        """
        scores = np.where(allowed, self.scores(tokens), 0)
        rows = np.flatnonzero(scores)
        if len(rows) > count:
            # All that reach the count-th best score: ties at the edge are cut by the order of the texts.
            edge = np.partition(scores[rows], len(rows) - count)[len(rows) - count]
            rows = rows[scores[rows] >= edge]
        order = rows[np.argsort(-scores[rows], kind="stable")][:count]
        return [(int(row), float(scores[row])) for row in order]
