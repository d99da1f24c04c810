"""Counts over answers."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains.evaluation.comparison.text_statistics import (
    describe,
    distinct_n,
    is_refusal,
    ngrams,
    repetition,
    words,
)

TEXTS = st.lists(st.text(st.sampled_from("ab é'.\n中"), max_size=30), max_size=6)


def test_words_have_no_punctuation_and_keep_their_apostrophes() -> None:
    assert words("Don't — it’s Zoë's 2nd, (really)!") == ["don't", "it’s", "zoë's", "2nd", "really"]
    assert words(" \n.!?") == []


def test_ngrams_are_rows_of_words() -> None:
    assert ngrams("a b a", 2) == [("a", "b"), ("b", "a")]
    assert ngrams("a", 2) == []
    with pytest.raises(ValueError, match="n is 0"):
        ngrams("a", 0)


def test_distinct_n_by_hand() -> None:
    assert distinct_n(["a b a b"], 1) == 0.5
    assert distinct_n(["a b", "a b"], 2) == 0.5
    assert distinct_n(["a b", "b a"], 2) == 1.0  # nothing goes over from one text to the next
    assert math.isnan(distinct_n([], 1))
    assert math.isnan(distinct_n(["a"], 2))


def test_repetition_by_hand() -> None:
    assert repetition("a b c d e") == 0
    assert repetition("a b c d a b c d") == pytest.approx(1 / 5)
    assert repetition("no no no no no no no") == pytest.approx(3 / 4)
    assert repetition("too short here") == 0


@given(TEXTS, st.integers(1, 4))
def test_distinct_n_and_repetition_equal_their_slow_twins(texts: list[str], n: int) -> None:
    counts: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        found = words(text)
        for start in range(len(found)):
            if start + n <= len(found):
                counts[tuple(found[start : start + n])] += 1
    if counts:
        assert distinct_n(texts, n) == len(counts) / sum(counts.values())
    for text in texts:
        seen: list[tuple[str, ...]] = []
        again = 0
        for ngram in ngrams(text, n):
            again += ngram in seen
            seen.append(ngram)
        assert repetition(text, n) == pytest.approx(again / len(seen) if seen else 0)


@pytest.mark.parametrize(
    "text",
    [
        "I can't help with that.",
        "I can’t help you with this request.",
        "i cant assist",
        "I'm sorry, but I cannot\n\nprovide instructions for that.",
        "I am sorry. As an AI model, I'm not able to give medical advice.",
        "I’m really unable to answer this.",
        "I won't be able to help with that",
        "Sorry, I will not write this.",
        "I have to decline.",
        "I'll have to respectfully decline this one",
        "I must refuse.",
        "I refuse to answer.",
        "I don’t think I can help with that.",
        "I'm not comfortable with that question.",
        "I don't feel comfortable talking about this",
        "Your request can't be fulfilled.",
    ],
)
def test_refusals(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Sure! I can help with that.",
        "I can't believe how well that went! Here is what to do next.",
        "I am not sure, but try turning it off and on.",
        "I'm sorry to hear that. Would you like to talk?",
        "You can't help everyone.",
        "It can't be helped: write to them.",
        "We could not be happier.",
        "I don't think I can lose: here is why.",
        "x" * 200 + " I can't help with that.",
    ],
)
def test_no_refusals(text: str) -> None:
    assert not is_refusal(text)


def test_an_apostrophe_is_an_apostrophe() -> None:
    for apostrophe in "'’‘ʼ´`＇":
        assert is_refusal(f"I can{apostrophe}t help.")


@given(st.text(max_size=300))
def test_any_text_can_be_described(text: str) -> None:
    found = describe([text])
    assert found.count == 1
    assert found.characters == len(text)
    assert found.empty_rate == (not text.strip())
    assert 0 <= found.repetition < 1
    assert math.isnan(found.distinct_1) or 0 < found.distinct_1 <= 1
    assert found.refusal_rate in (0, 1)


def test_describe_takes_means_over_answers() -> None:
    found = describe(["I can't help.", "", "one two three four"])
    assert (found.count, found.words, found.characters) == (3, 7 / 3, 31 / 3)
    assert (found.refusal_rate, found.empty_rate) == (1 / 3, 1 / 3)
    assert (found.distinct_1, found.distinct_2, found.repetition) == (1, 1, 0)


def test_nothing_to_describe() -> None:
    found = describe([])
    assert found.count == 0
    assert all(map(math.isnan, (found.words, found.distinct_1, found.refusal_rate, found.empty_rate)))
