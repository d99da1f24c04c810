from __future__ import annotations

from typing import Any

import pytest

from icdpo_chains.errors import TokenizerMismatch
from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.policies.tokenizer_check import PROBES, check_same_tokens


class Counting:
    """A tokenizer that counts the looks at its added tokens: each builds a dictionary of them."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.looks = tokenizer, 0

    def __getattr__(self, name: str) -> Any:
        if name == "added_tokens_decoder":
            self.looks += 1
        return getattr(self.tokenizer, name)

    def __len__(self) -> int:
        return len(self.tokenizer)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.tokenizer(*arguments, **options)


@pytest.fixture
def tokenizer() -> Counting:
    return Counting(byte_tokenizer())


def test_the_same_tokenizer_passes_and_is_asked_for_its_added_tokens_once(tokenizer):
    texts = []

    def tokenize(given):
        texts.extend(given)
        return [tokenizer(text, add_special_tokens=False).input_ids for text in given]

    check_same_tokens(tokenizer, tokenize, "the model", "Give another.")
    assert tuple(texts[: len(PROBES)]) == PROBES
    assert tokenizer.looks == 1


def test_the_first_difference_is_named(tokenizer):
    def tokenize(given):
        ids = [list(tokenizer(text, add_special_tokens=False).input_ids) for text in given]
        ids[0][3] += 1
        return ids

    with pytest.raises(TokenizerMismatch, match=r"the model .*from token 1 on.*Give another\."):
        check_same_tokens(tokenizer, tokenize, "the model", "Give another.")


def test_a_text_that_ends_early_is_a_difference(tokenizer):
    with pytest.raises(TokenizerMismatch):
        check_same_tokens(
            tokenizer,
            lambda given: [tokenizer(text, add_special_tokens=False).input_ids[:-1] for text in given],
            "the model",
            "Give another.",
        )
