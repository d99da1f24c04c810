"""Continuations of several contexts, cut into chunks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains.policies.policy import ScoreRequest
from icdpo_chains.policies.score_chunks import score_chunks

CONTINUATION = st.lists(st.integers(0, 9), max_size=12)


@given(st.lists(st.lists(CONTINUATION, max_size=6), max_size=6), st.integers(1, 60), st.booleans())
def test_each_continuation_is_in_one_chunk_of_the_size(
    continuations: list[list[list[int]]], most: int, mixed: bool
) -> None:
    requests = [ScoreRequest([1], some) for some in continuations]
    found: list[list[list[int]]] = [[] for _ in requests]
    for chunk in score_chunks(requests, most, mixed=mixed):
        numbers = [number for number, _ in chunk]
        assert numbers == sorted(set(numbers))
        assert mixed or len(numbers) == 1
        rows = [ids for _, some in chunk for ids in some]
        assert len(rows) == 1 or len(rows) * max(1, *map(len, rows)) <= most
        for number, some in chunk:
            assert some
            found[number] += map(list, some)
    for own, given_ in zip(found, continuations, strict=True):
        assert own == (given_ if any(given_) else [])
