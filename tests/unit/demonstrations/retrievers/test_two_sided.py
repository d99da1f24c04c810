"""Chosen and rejected answers that are retrieved separately."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icdpo_chains import ICDPO, FakePolicy, FixedDemonstrations, InstantScorer, SamplingParams
from icdpo_chains.config import ICDPOConfig
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.demonstrations.retriever import RetrievedDemonstration
from icdpo_chains.demonstrations.retrievers.two_sided import TwoSidedRetriever
from icdpo_chains.demonstrations.retrievers.two_stage import TwoStageRetriever
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import MissingRejectedError, NoDemonstrationsError

ROWS = {
    "pair": Demonstration("the long blue whale sings", "pair good", "pair bad"),
    "far pair": Demonstration("tea with milk and sugar", "far good", "far bad"),
    "up": Demonstration("the long blue whale", "up good"),
    "down": Demonstration("a long blue whale sings", None, "down bad"),
}
QUESTION = "the long blue whale sings a song"


def two_sided(store: DemonstrationStore, k: int = 2) -> TwoSidedRetriever:
    return TwoSidedRetriever(store, partial(TwoStageRetriever, store, k))


@settings(deadline=None, max_examples=20)
@given(st.sets(st.sampled_from(list(ROWS))), st.integers(1, 4))
def test_it_is_two_retrievals(names: set[str], k: int) -> None:
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        store.add([ROWS[name] for name in sorted(names)])
        found = two_sided(store, k).retrieve(QUESTION)
        sides = [
            TwoStageRetriever(store, k, require_chosen=chosen, require_rejected=not chosen)
            for chosen in (True, False)
        ]
        good, bad = ([item.demonstration for item in side.retrieve(QUESTION)] for side in sides)
    shown = [(item.demonstration, item.shown) for item in found]
    assert {item for item, answers in shown if answers.chosen is not None} == {*good}
    assert {item for item, answers in shown if answers.rejected is not None} == {*bad}
    if names <= {"pair", "far pair"}:
        assert {item.side for item in found} <= {"both"}
    assert len({item.demonstration.id for item in found}) == len(found)


def test_a_store_of_pairs_is_searched_once(store: DemonstrationStore) -> None:
    class Broken:
        def retrieve(self, *args: object, **options: object) -> list[RetrievedDemonstration]:
            raise AssertionError("the second side is searched")

    store.add([ROWS["pair"], ROWS["far pair"]])
    retriever = two_sided(store)
    retriever._rejected = Broken()
    assert len(retriever.retrieve(QUESTION)) == 2
    store.add([ROWS["up"]])
    with pytest.raises(AssertionError, match="second side"):
        retriever.retrieve(QUESTION)


def test_the_side_tells_which_answers_are_shown() -> None:
    pair = ROWS["pair"]
    assert RetrievedDemonstration(pair).shown is pair
    assert RetrievedDemonstration(pair, side="chosen").shown == Demonstration(pair.prompt, pair.chosen)
    shown = RetrievedDemonstration(pair, side="rejected").shown
    assert shown == Demonstration(pair.prompt, None, pair.rejected)


def answered(store: DemonstrationStore, **options: object) -> ICDPO:
    config = ICDPOConfig(n=2, **options)  # type: ignore[arg-type]
    return ICDPO.from_config(config, policy=FakePolicy(["up good", "down bad"]), store=store)


def test_thumbs_alone_serve_the_upgraded_scorer(store: DemonstrationStore) -> None:
    store.add([ROWS["up"], ROWS["down"]])
    result = answered(store).generate(QUESTION, seed=0)
    assert (result.against, result.paired) == ("rejected", False)
    assert {found.side for found in result.demonstrations} == {"chosen", "rejected"}
    written = result.to_dict()
    assert written["scorer"] == {"against": "rejected", "aggregate": "sum", "paired": False}
    assert {item["side"] for item in written["demonstrations"]} == {"chosen", "rejected"}
    # By hand: each context shows the answers of its own side.
    by_hand = ICDPO(
        FakePolicy(["up good", "down bad"]), FixedDemonstrations([ROWS["up"], ROWS["down"]]), n=2
    ).generate(QUESTION, seed=0)
    assert [(item.text, item.score) for item in result.candidates] == [
        (item.text, item.score) for item in by_hand.candidates
    ]
    store.add([ROWS["pair"], ROWS["far pair"]])
    store.remove([ROWS["up"].id, ROWS["down"].id])
    assert answered(store).generate(QUESTION).paired


def test_ups_alone_name_the_remedy_and_auto_takes_what_there_is(store: DemonstrationStore) -> None:
    store.add([ROWS["up"]])
    for limits in ({}, {"min_similarity": 0.0}):
        with pytest.raises(MissingRejectedError, match='use against="base"'):
            answered(store, **limits).generate(QUESTION)
    base, auto = (answered(store, against=name).generate(QUESTION, seed=1) for name in ("base", "auto"))
    assert (auto.against, base.against, auto.candidates) == ("base", "base", base.candidates)
    store.add([ROWS["down"]])
    rejected, auto = (
        answered(store, against=name).generate(QUESTION, seed=1) for name in ("rejected", "auto")
    )
    assert (auto.against, auto.candidates) == ("rejected", rejected.candidates)
    base = answered(store, against="base").generate(QUESTION)
    assert [found.demonstration for found in base.demonstrations] == [ROWS["up"]]


def test_downs_alone_can_show_no_answer(store: DemonstrationStore) -> None:
    store.add([ROWS["down"]])
    for against in ("rejected", "auto"):
        with pytest.raises(
            NoDemonstrationsError, match=r"none of the demonstrations for.*has a chosen answer.*thumbs up"
        ):
            answered(store, against=against).generate(QUESTION)
    with pytest.raises(NoDemonstrationsError, match="icdpo import"):
        answered(store, against="base").generate(QUESTION)


def test_a_lone_rejected_answer_is_not_shown_to_the_bare_model() -> None:
    shown = FixedDemonstrations([ROWS["down"], ROWS["pair"]])
    for against in ("base", "rejected"):
        scorer = InstantScorer(against)  # type: ignore[arg-type]
        result = ICDPO(
            FakePolicy(["x"]), shown, scorer, n=1, sampling=SamplingParams(max_new_tokens=3)
        ).generate(QUESTION)
        assert (ROWS["down"] in {found.demonstration for found in result.demonstrations}) == (
            against == "rejected"
        )


def test_what_does_not_fit_is_dropped_from_both_sides_alike(store: DemonstrationStore) -> None:
    ups = [Demonstration(f"the blue whale {i}", f"good {i} " + "x" * 300) for i in range(3)]
    downs = [Demonstration(f"the blue shark {i}", None, f"bad {i} " + "x" * 300) for i in range(3)]
    store.add([*ups, *downs])
    policy = FakePolicy(["x"], max_context=900)
    icdpo = ICDPO(policy, two_sided(store, 3), n=1, sampling=SamplingParams(max_new_tokens=3))
    result = icdpo.generate(QUESTION)
    sides = [found.side for found in result.demonstrations]
    assert 0 <= sides.count("chosen") - sides.count("rejected") <= 1
    assert 2 <= len(sides) < 6
    assert len(sides) + len(result.dropped) == 6
    assert set(result.dropped) <= {*ups, *downs}
