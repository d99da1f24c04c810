"""The list of demonstrations, in pages."""

from collections.abc import Iterator

import pytest

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.ui.demonstration_list import PAGE_SIZE, label_of, page_of


@pytest.fixture
def store() -> Iterator[DemonstrationStore]:
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        store.add(
            Demonstration(f"question {i} about w{i % 5}", f"good {i}") for i in range(2 * PAGE_SIZE + 3)
        )
        yield store


def test_the_pages_are_the_store_in_its_order(store: DemonstrationStore) -> None:
    pages = [page_of(store, " ", number) for number in (1, 2, 3)]
    assert [id_ for page in pages for id_ in page.ids] == [item.id for item in store]
    assert [page.count for page in pages] == [3, 3, 3]
    assert pages[2].caption == f"{len(store)} demonstrations; page 3 of 3"
    assert pages[0].choices[1] == ("question 1 about w1\n✔︎ good 1", pages[0].ids[1])


def test_a_number_out_of_range_gives_the_nearest_page(store: DemonstrationStore) -> None:
    assert page_of(store, "", 9).number == 3
    assert page_of(store, "", -1).number == 1


def test_the_pages_of_a_search_are_nearest_first(store: DemonstrationStore) -> None:
    query = "question 7 about w2"
    pages = [page_of(store, query, number) for number in (1, 2, 3)]
    expected = store.search(query, k=5 * PAGE_SIZE)
    assert [id_ for page in pages for id_ in page.ids] == [item.id for item, _ in expected]
    assert pages[0].caption == f"The {len(store)} nearest of {len(store)} demonstrations; page 1 of 3"
    assert pages[0].labels[0].endswith("similarity 1.00")


def test_an_empty_store_says_what_to_do() -> None:
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        for query in ("", "anything"):
            page = page_of(store, query, 1)
            assert (page.ids, page.number, page.count) == ((), 1, 1)
            assert "import" in page.caption


def test_a_label_is_short_and_shows_what_is_hidden() -> None:
    item = Demonstration(
        [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hello!"},
            {"role": "user", "content": "a\u202eb\n\nc"},
        ],
        "x" * 1_000,
        "<b>no</b>",
    )
    question, chosen, rejected, near = label_of(item, 0.5).split("\n")
    assert question == "a\\u202eb c (after 2 earlier turns)"
    assert len(chosen) < 200
    assert chosen.endswith("x…")
    assert rejected == "✗ <b>no</b>"
    assert near == "similarity 0.50"
