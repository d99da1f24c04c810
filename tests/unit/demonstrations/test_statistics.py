"""The counts of a store's demonstrations."""

from __future__ import annotations

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.demonstrations.statistics import StoreStatistics, store_statistics
from icdpo_chains.demonstrations.store import DemonstrationStore

LONG = "How long do I boil a large egg from the fridge so that the yolk stays soft and the white is firm"


def test_each_kind_is_counted() -> None:
    vote = {"thumb": "up", "user": 1}, {"thumb": "down", "user": 2}, {"thumb": "up", "user": 3}
    rows = [
        Demonstration(LONG, "Six minutes.", "Dunno."),
        Demonstration(f"{LONG}?", "Seven minutes."),
        Demonstration("Как сварить яйцо?", None, "Не знаю."),
        Demonstration("卵をどのくらい茹でますか", "六分です。", "知りません。"),
        Demonstration("A tie?", "yes", None, {"thumb": "up", "thumbs": list(vote[:2])}),
        Demonstration("A vote?", "yes", None, {"thumb": "up", "thumbs": list(vote)}),
        Demonstration(LONG, None, "Six minutes."),
        Demonstration("123 + 4 =", "127"),
    ]
    assert store_statistics(rows) == StoreStatistics(
        pairs=2,
        ups=3,
        downs=2,
        ties=1,
        contradicted=3,
        prompts=7,
        near_duplicates=2,
        scripts={"LATIN": 5, "CYRILLIC": 1, "HIRAGANA": 1, "none": 1},
    )
    assert store_statistics([]).pairs == 0


def test_the_counts_are_those_of_a_store() -> None:
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        for user, side in enumerate("ud"):
            answers = ("yes", None) if side == "u" else (None, "yes")
            store.add(
                [Demonstration("A tie?", *answers, {"thumb": "up" if side == "u" else "down", "u": user})]
            )
        found = store_statistics(store)
    assert (found.ties, found.contradicted, found.ups, found.downs) == (1, 1, 0, 0)
