"""The text of growing tokens against decoding all of them each time, the slow twin."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.policies.growing_text import GrowingText, decoded

BYTES = byte_tokenizer()


def of_words(decoder: Any) -> PreTrainedTokenizerFast:
    words = ["\u2581a", "b", "\u2581.", "<0xE2>", "<0x82>", "<0xAC>", "##c", "\u2581", "d e"]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="b"))
    inner.decoder = decoder
    return PreTrainedTokenizerFast(tokenizer_object=inner)


class Upper(PreTrainedTokenizerFast):
    """Decodes in its own way: the first token's text is longer."""

    def _decode(self, token_ids: Any, **options: Any) -> str:
        return "> " + super()._decode(token_ids, **options)


SENTENCE_PIECE = decoders.Sequence(
    [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
)
OTHERS = {
    "sentence piece": of_words(SENTENCE_PIECE),
    "metaspace": of_words(decoders.Metaspace()),
    "word piece": of_words(decoders.WordPiece()),
    "own": Upper(tokenizer_object=BYTES.backend_tokenizer),
}


class Counting:
    """Counts the tokens that are decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tokens = 0
        decode = PreTrainedTokenizerFast._decode

        def count(tokenizer: Any, token_ids: Any, *args: Any, **options: Any) -> str:
            self.tokens += len(token_ids)
            return decode(tokenizer, token_ids, *args, **options)

        monkeypatch.setattr(PreTrainedTokenizerFast, "_decode", count)


def check(tokenizer: Any, ids: list[int]) -> None:
    text = GrowingText(tokenizer)
    for count in range(len(ids) + 1):
        assert text.of(ids[:count]) == decoded(tokenizer, ids[:count])


TEXTS = st.text("a .\u00e9\u20ac\U0001f600\ufffd\u0301\u200d", max_size=12).map(
    lambda text: BYTES(text).input_ids
)


@given(st.lists(st.one_of(TEXTS, st.lists(st.integers(0, len(BYTES) - 1), max_size=4)), max_size=6))
@settings(max_examples=300, deadline=None)
def test_bytes_in_any_order(parts: list[list[int]]) -> None:
    """Cut and broken characters, and control tokens between their bytes."""
    check(BYTES, [token for part in parts for token in part])


@pytest.mark.parametrize("name", OTHERS)
@given(st.lists(st.integers(0, 8), max_size=12))
@settings(max_examples=60, deadline=None)
def test_decoders_that_look_at_neighbours(name: str, ids: list[int]) -> None:
    check(OTHERS[name], ids)


def test_each_byte_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting(monkeypatch)
    text, ids = GrowingText(BYTES), BYTES("\u20ac is long. " * 50).input_ids
    for count in range(1, len(ids) + 1):
        text.of(ids[:count])
    assert counting.tokens == len(ids) + 50 * 3  # the three bytes of a euro sign: 3, 2 and 1 times
