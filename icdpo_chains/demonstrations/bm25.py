"""`BM25Index`: which prompts share rare words with a query."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["BM25Index", "tokenize"]

# Chinese, Japanese and Korean are written without spaces: there each character counts as a word.
_SCRIPT = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af"
_TOKEN = re.compile(rf"[{_SCRIPT}]|[^\W{_SCRIPT}]+")


def tokenize(text: str) -> list[str]:
    """Returns the lower-case words of a text, in any script; no stemming, no stop words."""
    return _TOKEN.findall(text.lower())


class BM25Index:
    """Lucene's variant of BM25 (k1 = 1.5, b = 0.75), by `bm25s`, over texts that do not change.

    Args:
        texts: what is searched; a row is its place here.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        import bm25s

        self._size = len(texts)
        self._index = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
        corpus = [tokenize(text) for text in texts]
        self._empty = not any(corpus)
        if not self._empty:
            self._index.index(corpus, show_progress=False)

    def scores(self, tokens: Sequence[str]) -> NDArray[np.float32]:
        """Returns the score of each text, float32 [texts]; a token that no text holds counts nothing."""
        known = [] if self._empty else [token for token in tokens if token in self._index.vocab_dict]
        if not known:
            return np.zeros(self._size, dtype=np.float32)
        scores: NDArray[np.float32] = self._index.get_scores(known)
        return scores

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
