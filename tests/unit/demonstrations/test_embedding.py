"""Embedders: the fake one, and what a wrong one is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains.demonstrations.embedding import FakeEmbedder, SentenceTransformerEmbedder, embed_checked
from icdpo_chains.errors import StoreError


class WrongEmbedder:
    name = "wrong"

    def __init__(self, answer: Callable[[int], Any]) -> None:
        self._answer = answer

    def embed(self, texts: Sequence[str]) -> Any:
        return self._answer(len(texts))


@given(st.lists(st.text(), min_size=1, max_size=5), st.integers(1, 80))
def test_the_fake_gives_unit_vectors_that_depend_on_the_text_alone(texts: list[str], dimension: int) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    vectors = FakeEmbedder(dimension).embed(texts)
    assert vectors.shape == (len(texts), dimension)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert (vectors[-1:] == FakeEmbedder(dimension).embed(texts[-1:])).all()


def test_texts_that_share_words_are_near() -> None:
    one, near, far = FakeEmbedder().embed(["how to pick a lock", "pick the lock", "birthday present"])
    assert one @ near > one @ far + 0.3


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda n: np.zeros((n + 1, 4)), r"shape \(3, 4\) for 2 texts"),
        (lambda n: np.zeros(n), r"shape \(2,\)"),
        (lambda n: np.full((n, 4), np.nan), "not finite"),
        (lambda n: np.full((n, 4), np.inf), "not finite"),
        (lambda n: [[1.0], [1.0, 2.0]], "no numbers"),
        (lambda n: [["a"]] * n, "no numbers"),
        (lambda n: np.zeros((n, 4)), "zeros"),
        (lambda n: np.zeros((n, 0)), r"shape \(2, 0\)"),
    ],
)
def test_what_is_not_one_vector_a_text_is_refused(answer: Callable[[int], Any], says: str) -> None:
    with pytest.raises(StoreError, match=f"'wrong' returned .*{says}"):
        embed_checked(WrongEmbedder(answer), ["a", "b"])


def test_lists_and_double_precision_are_taken() -> None:
    vectors = embed_checked(WrongEmbedder(lambda n: [[0.6, 0.8]] * n), ["a", "b"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (2, 2)


def test_nothing_is_loaded_before_it_is_used() -> None:
    assert SentenceTransformerEmbedder("no/such-model").name == "no/such-model"
    assert SentenceTransformerEmbedder().name == "all-minilm-l6-v2"
