"""`BM25Index`: which prompts share rare words with a query."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BM25Index", "tokenize"]

# Chinese, Japanese and Korean are written without spaces: there each character counts as a word.
_SCRIPT = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af"
_TOKEN = re.compile(rf"[{_SCRIPT}]|[^\W{_SCRIPT}]+")
# The same for text in ASCII, in half the time: at 100,000 prompts, a second less to open a store.
_ASCII_TOKEN = re.compile(r"[a-z0-9_]+")


def tokenize(text: str) -> list[str]:
    """Returns the lower-case words of a text, in any script; no stemming, no stop words."""
    text = text.lower()
    if text.isascii():
        return _ASCII_TOKEN.findall(text)
    # An é typed as one character and as two is the same é.
    return _TOKEN.findall(unicodedata.normalize("NFC", text))


class BM25Index:
    """Lucene's variant of BM25 (k1 = 1.5, b = 0.75) by `bm25s`, over texts that do not change.

    Args:
        texts: what is searched; a row is its place here.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        import bm25s

        # It sets itself to DEBUG on import, which everyone who logs to the terminal would see.
        logging.getLogger("bm25s").setLevel(logging.NOTSET)
        vocabulary: defaultdict[str, int] = defaultdict()
        vocabulary.default_factory = vocabulary.__len__  # a new token gets the next number
        # By numbers of our own: from words, bm25s takes half as long again.
        rows = [list(map(vocabulary.__getitem__, tokenize(text))) for text in texts]
        self._size = len(rows)
        self._bm25: Any = None
        if vocabulary:
            self._bm25 = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
            self._bm25.index((rows, dict(vocabulary)), create_empty_token=False, show_progress=False)

    def scores(self, tokens: Sequence[str]) -> NDArray[np.float32]:
        """Returns the score of each text, float32 [texts]; a token that no text holds counts nothing."""
        if self._bm25 is None:  # no text holds a word
            return np.zeros(self._size, dtype=np.float32)
        scores: NDArray[np.float32] = self._bm25.get_scores_from_ids(self._bm25.get_tokens_ids(tokens))
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
