import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains.policies.transformers.block_layout import BlockLayout


@given(st.lists(st.integers(0, 40), min_size=1, max_size=20).filter(any))
def test_each_row_has_a_place_of_its_own_in_a_block_of_its_prompt(counts: list[int]) -> None:
    layout = BlockLayout.of(counts)
    assert len(set(layout.places)) == len(layout.places) == sum(counts)
    assert list(layout.places) == sorted(layout.places)
    rows = itertools.chain.from_iterable([owner] * count for owner, count in enumerate(counts))
    for owner, place in zip(rows, layout.places, strict=True):
        assert layout.owners[place // layout.width] == owner
    assert layout.size <= 2 * sum(counts)


@pytest.mark.parametrize(
    ("counts", "width", "blocks"),
    [([8], 8, 1), ([4] * 32, 4, 32), ([8, *[1] * 31], 1, 39), ([3, 0, 3], 3, 2), ([8, 7, 8], 8, 3)],
)
def test_the_cheapest_width_is_taken(counts: list[int], width: int, blocks: int) -> None:
    layout = BlockLayout.of(counts)
    assert (layout.width, len(layout.owners)) == (width, blocks)
