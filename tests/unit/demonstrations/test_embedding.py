"""Embedders: the fake one, and what a wrong one is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains.demonstrations import embedding
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


class SmallDevice:
    """A model for batches of so many texts, on a device that holds no more."""

    device = torch.device("cpu")

    def __init__(self, most: int) -> None:
        self.most, self.tried = most, []  # type: ignore[var-annotated]

    def encode(self, texts: list[str], *, batch_size: int, show_progress_bar: bool) -> Any:
        self.tried.append(batch_size)
        if min(batch_size, len(texts)) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return np.array([[3.0, 4.0 + len(text)] for text in texts])


@pytest.mark.parametrize("texts", [5, 40])
@pytest.mark.parametrize("most", [1, 3, 100])
def test_a_device_for_a_few_texts_gives_the_same_vectors(
    monkeypatch: pytest.MonkeyPatch, most: int, texts: int
) -> None:
    found = []
    for model in (SmallDevice(1_000), SmallDevice(most)):
        embedder = SentenceTransformerEmbedder()
        monkeypatch.setattr(embedder, "_load", lambda model=model: model)
        monkeypatch.setattr(embedding, "_in_bfloat16", lambda model: model)
        found.append(embedder.embed(["a" * count for count in range(texts)]))
        assert model.tried == [
            size
            for size in ([64, 32] if texts == 40 else [32]) + [16, 8, 4, 2, 1]
            if size >= min(model.tried)
        ]
    assert np.array_equal(*found)


def test_a_text_that_no_memory_holds_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = SentenceTransformerEmbedder()
    monkeypatch.setattr(embedder, "_load", lambda: SmallDevice(0))
    with pytest.raises(StoreError, match=r"memory of cpu can't hold a text .*device='cpu'"):
        embedder.embed(["Hello"])


def test_without_memory_for_a_copy_in_bfloat16_the_model_itself_embeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def used_up(model: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(
        "icdpo_chains.policies.transformers.loading.load.default_dtype", lambda _: torch.bfloat16
    )
    monkeypatch.setattr("copy.deepcopy", used_up)
    model = SmallDevice(1)
    assert embedding._in_bfloat16(model) is model
