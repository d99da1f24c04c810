"""What may be told of a continuation before it has ended."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains.policies.decoding import Row
from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.policies.sampling import SampleRequest, SamplingParams
from icdpo_chains.policies.token_stream import TokenStream, settled_text


def told(text: str, stop: tuple[str, ...] = ()) -> tuple[list[str], str]:
    """What a stream of a text is told, byte by byte, and the text of the sample."""
    texts: list[str] = []
    sampling = SamplingParams(max_new_tokens=1000, stop=stop)
    row = Row(byte_tokenizer(), SampleRequest([1], 1, sampling, stream=TokenStream(texts.append)), 0)
    for token in byte_tokenizer()(text, add_special_tokens=False).input_ids:
        if not row.finished:
            row.append(token, ended=False)
    return texts, row.sample().text


@pytest.mark.parametrize(
    ("text", "stop", "settled"),
    [
        ("one", [], "one"),
        ("one \ufffd", [], "one "),
        ("one \ufffd\ufffd", ["e \ufffd"], "on"),
        ("one tw", ["two"], "one "),
        ("one tw", ["two", " twenty"], "one"),
        ("one twx", ["two"], "one twx"),
        ("aaa", ["aaaa"], ""),
        ("", ["x"], ""),
    ],
)
def test_settled_text(text: str, stop: list[str], settled: str) -> None:
    assert settled_text(text, stop) == settled


@given(
    st.text(st.sampled_from("ab\n é🦜"), min_size=1, max_size=25),
    st.lists(st.text(st.sampled_from("ab\n é🦜"), min_size=1, max_size=4), max_size=3),
)
def test_each_text_goes_on_with_the_one_before_and_the_sample_with_the_last(
    text: str, stop: list[str]
) -> None:
    texts, whole = told(text, tuple(stop))
    for before, after in itertools.pairwise([*texts, whole]):
        assert after.startswith(before)
    assert all("\ufffd" not in told for told in texts)
    assert not any(string in told for told in texts for string in stop)


def test_text_is_told_at_once_where_nothing_may_follow() -> None:
    assert told("aé")[0] == ["a", "a", "aé"]


def test_a_new_start_tells_nothing_twice() -> None:
    texts: list[str] = []
    stream = TokenStream(texts.append)
    stream.grown([1, 2], "ab", ())
    stream.grown([1], "a", ())
    stream.grown([1, 2], "ab", ())
    stream.grown([1, 2, 3], "abc", ())
    assert texts == ["ab", "abc"]


def test_several_continuations_have_no_stream() -> None:
    with pytest.raises(ValueError, match="n is 2, and a stream has one"):
        SampleRequest([1], 2, SamplingParams(), stream=TokenStream(print))
