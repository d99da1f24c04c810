"""A candidate's text in pieces, each with its token's score."""

from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains import Candidate, FakePolicy
from icdpo_chains.token_pieces import token_pieces

TOKENIZER = FakePolicy().tokenizer


def candidate(text: str, *, shown: str | None = None) -> Candidate:
    ids = tuple(TOKENIZER(text, add_special_tokens=False, split_special_tokens=True).input_ids)
    scores = tuple(float(i) for i in range(len(ids)))
    return Candidate(text if shown is None else shown, 1.0, -1.0, -2.0, len(ids), ids, scores, "stop", 0)


@given(st.text())
def test_the_pieces_are_the_text(text: str) -> None:
    assert "".join(piece for piece, _ in token_pieces(candidate(text), TOKENIZER)) == text


def test_each_piece_has_its_own_score() -> None:
    pieces = token_pieces(candidate("a\u00e9\U0001f99c"), TOKENIZER)
    assert pieces == [("a", 0.0), ("\u00e9", 2.0), ("\U0001f99c", 6.0)]


def test_pieces_are_cut_as_the_text_is() -> None:
    """A stop string ends the text before its tokens do; the plain format begins with a space."""
    pieces = token_pieces(candidate(" abc\nUser:", shown="abc"), TOKENIZER)
    assert pieces == [("a", 1.0), ("b", 2.0), ("c", 3.0)]
