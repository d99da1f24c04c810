"""BM25 against the formula written down over dictionaries."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains.demonstrations.bm25_index import BM25Index, tokenize

# Few words, so that texts share some; and any text at all.
WORDY = st.lists(st.sampled_from(["apple", "Apple", "pear", "plum", "苹果", "и", "_", "!"]), max_size=12).map(
    " ".join
)
TEXTS = st.lists(WORDY | st.text(max_size=20), max_size=12)


def slow_scores(texts: list[str], query: list[str]) -> list[float]:
    """Lucene's BM25, with k1 = 1.5 and b = 0.75, as the formula reads."""
    documents = [Counter(tokenize(text)) for text in texts]
    mean = sum(map(Counter.total, documents)) / max(len(documents), 1)
    scores = []
    for document in documents:
        score = 0.0
        for token in query:
            holding = sum(token in other for other in documents)
            if token in document:
                rarity = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
                length = 1 - 0.75 + 0.75 * document.total() / mean
                score += rarity * document[token] / (document[token] + 1.5 * length)
        scores.append(score)
    return scores


@given(TEXTS, WORDY | st.text(max_size=20))
def test_the_scores_are_those_of_the_formula(texts: list[str], query: str) -> None:
    scores = BM25Index(texts).scores(tokenize(query))
    assert scores.dtype == np.float32
    assert scores.tolist() == pytest.approx(slow_scores(texts, tokenize(query)), rel=1e-5)


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_text_is_read_as_any_other(text: str) -> None:
    assert tokenize(text) == [token for token in tokenize(f"{text} é") if token != "é"]


@given(TEXTS, WORDY, st.integers(1, 6), st.data())
def test_the_best_are_those_that_sorting_gives(
    texts: list[str], query: str, count: int, data: st.DataObject
) -> None:
    index = BM25Index(texts)
    allowed = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts))), dtype=bool
    )
    scores = index.scores(tokenize(query))
    rows = [row for row in range(len(texts)) if allowed[row] and scores[row] > 0]
    expected = sorted(rows, key=lambda row: (-scores[row], row))[:count]
    assert index.best(tokenize(query), count, allowed) == [(row, float(scores[row])) for row in expected]


def test_texts_are_read_once_and_lazily() -> None:
    index = BM25Index(text for text in ["a b", "b c"])
    assert index.scores(["c"]).argmax() == 1


def test_a_token_that_is_asked_for_twice_counts_twice() -> None:
    index = BM25Index(["a b", "c"])
    assert index.scores(["a", "a"])[0] == 2 * index.scores(["a"])[0]


@pytest.mark.parametrize("texts", [[], [""], ["", "!!", "  "]])
def test_without_any_word_nothing_is_found(texts: list[str]) -> None:
    index = BM25Index(texts)
    assert index.scores(["a"]).tolist() == [0.0] * len(texts)
    assert index.best(["a"], 3, np.ones(len(texts), dtype=bool)) == []


def test_a_query_does_not_change_the_vocabulary() -> None:
    index = BM25Index(["a"])  # whose vocabulary is a defaultdict while it is built
    for _ in range(2):
        assert index.scores(["unknown", "a"]).tolist() == index.scores(["a"]).tolist()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Don't PANIC, it's 3.5!", ["don", "t", "panic", "it", "s", "3", "5"]),
        ("Straße über Ёлка", ["straße", "über", "ёлка"]),
        ("我爱 Python3ですよ 한글", ["我", "爱", "python3", "で", "す", "よ", "한", "글"]),
        ("{x} {{ <|im_end|>\0end", ["x", "im_end", "end"]),
        (" \n", []),
    ],
)
def test_tokens(text: str, tokens: list[str]) -> None:
    assert tokenize(text) == tokens


def test_the_same_word_in_two_encodings_is_one_word() -> None:
    word = "Élève"
    assert tokenize(unicodedata.normalize("NFD", word)) == tokenize(unicodedata.normalize("NFC", word))


def test_what_bm25s_does_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    BM25Index(["an apple", "a pear"])
    assert not caplog.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("माँ और मैं", ["माँ", "और", "मैं"]),  # marks belong to their letter
        ("क्‍या", ["क्या"]),  # a joiner changes the look alone
        ("كِتَابٌ", ["كتاب"]),  # with and without vowel signs
        ("كـــتاب", ["كتاب"]),
        ("שָׁלוֹם", ["שלום"]),
        ("می‌خواهم", ["میخواهم"]),
        ("ภาษาไทย", ["ภ", "า", "ษ", "า", "ไ", "ท", "ย"]),
        ("น้ำที่", ["น้", "ำ", "ที่"]),
        ("ລາວ", ["ລ", "າ", "ວ"]),
        ("ខ្មែរ", ["ខ្", "មែ", "រ"]),
        ("မြန်မာ", ["မြ", "န်", "မာ"]),
        ("日本語 test한국", ["日", "本", "語", "test", "한", "국"]),
        ("Straße İstanbul", ["straße", "i̇stanbul"]),
        ("x̄ e\u0301", ["x̄", "é"]),
        ("don't 3.5 snake_case 🙂", ["don", "t", "3", "5", "snake_case"]),
        ("\u0301\u064b", ["\u0301"]),
    ],
)
def test_words_of_many_scripts(text: str, words: list[str]) -> None:
    assert tokenize(text) == words


@given(st.text())
def test_the_words_are_parts_of_the_text(text: str) -> None:
    words = tokenize(text)
    assert all(words)
    assert tokenize(" ".join(words)) == words


def test_a_thai_question_finds_its_demonstration() -> None:
    index = BM25Index(["แมวของฉันป่วย", "รถเสีย", "ฉันหิวข้าว"])
    (row, _), *_ = index.best(tokenize("แมวป่วย"), 2, np.ones(3, dtype=bool))
    assert row == 0
