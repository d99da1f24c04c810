"""Thumbs: votes that contradict each other, and ups and downs that become pairs."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icdpo_chains.demonstrations.chroma.adding import AddReport
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.demonstrations.files import read_demonstrations
from icdpo_chains.demonstrations.pairing import is_tie, votes_of
from icdpo_chains.demonstrations.retrievers.two_stage import TwoStageRetriever
from icdpo_chains.demonstrations.store import DemonstrationStore

PROMPT = "Where is my parcel?"


def up(answer: str, prompt: str = PROMPT, **metadata: Any) -> Demonstration:
    return Demonstration(prompt, answer, None, metadata)


def down(answer: str, prompt: str = PROMPT, **metadata: Any) -> Demonstration:
    return Demonstration(prompt, None, answer, metadata)


def ids(items: Iterable[Demonstration]) -> set[str]:
    return {item.id for item in items}


def test_an_up_and_a_down_of_one_prompt_are_a_pair(store: DemonstrationStore) -> None:
    other = [up("fine", "Another question?"), down("bad", "A third question?")]
    report = store.add([up("Ahoy!", user=1), *other, down("No idea.", user=2)])
    pair = Demonstration(PROMPT, "Ahoy!", "No idea.")
    assert report == AddReport(added=4)
    assert report.places == {up("Ahoy!").id: pair.id, down("No idea.").id: pair.id}
    assert ids(store) == ids([pair, *other])
    (stored,) = store.get(pair.id)
    assert stored.metadata == {"user": 1, "rejected_metadata": {"user": 2}}
    # Again, the other way round, and with doubles: it is all known.
    again = store.add([down("No idea.", user=2), up("Ahoy!", user=1), *other])
    assert again == AddReport(unchanged=4)
    assert again.places == report.places
    assert len(store) == 3


def test_it_is_a_pair_whenever_the_other_comes(tmp_path: Path) -> None:
    for item in (up("Ahoy!"), down("No idea."), down("Who cares?")):
        with DemonstrationStore(tmp_path, embedder=FakeEmbedder()) as store:
            report = store.add([item])
    with DemonstrationStore(tmp_path, embedder=FakeEmbedder()) as store:
        assert ids(store) == ids([Demonstration(PROMPT, "Ahoy!", "No idea."), down("Who cares?")])
        assert report.places == {}
        report = store.add([up("Aye!")])
        pairs = [("Ahoy!", "No idea."), ("Aye!", "Who cares?")]
        assert ids(store) == ids(Demonstration(PROMPT, *pair) for pair in pairs)
        assert {item.prompt for item in store.get(list(report.places.values()))} == {PROMPT}
        found = store.search(PROMPT, 5)
        assert [round(near, 5) for _, near in found] == [1, 1]


def test_a_pair_that_was_given_is_left_alone(store: DemonstrationStore) -> None:
    pair = Demonstration(PROMPT, "Ahoy!", "No idea.", {"source": "a person"})
    store.add([pair])
    report = store.add([up("Ahoy!"), down("No idea."), up("Aye!")])
    assert report == AddReport(added=1, unchanged=2)
    assert report.places == {up("Ahoy!").id: pair.id, down("No idea.").id: pair.id}
    assert set(store) == {pair, up("Aye!")}
    assert store.get(pair.id)[0].metadata == {"source": "a person"}
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as other:
        assert other.add([up("Ahoy!"), pair]).total == 2
        assert set(other) == {pair}


def votes(thumbs: str) -> list[Demonstration]:
    """One vote for each letter, each by another user."""
    return [
        (up if letter == "u" else down)("Ahoy!", thumb="up" if letter == "u" else "down", user=i)
        for i, letter in enumerate(thumbs)
    ]


@given(st.text("ud", min_size=1, max_size=7), st.randoms())
@settings(deadline=None, max_examples=25)
def test_the_majority_decides_and_a_tie_is_not_shown(thumbs: str, draw: random.Random) -> None:
    given = votes(thumbs)
    draw.shuffle(given)
    cut = draw.randrange(len(given) + 1)
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        report = store.add(given[:cut]) + store.add(given[cut:])
        assert report == AddReport(added=len(thumbs))
        (item,) = store
        assert votes_of(item) == {"up": thumbs.count("u"), "down": thumbs.count("d")}
        balance = thumbs.count("u") - thumbs.count("d")
        if balance:
            assert (item.chosen, item.rejected) == (("Ahoy!", None) if balance > 0 else (None, "Ahoy!"))
        for chosen in (True, False):
            retriever = TwoStageRetriever(store, 5, require_chosen=chosen, require_rejected=not chosen)
            assert len(retriever.retrieve(PROMPT)) == (balance > 0 if chosen else balance < 0)
        # The same log once more counts nothing twice.
        assert store.add(given) == AddReport(unchanged=len(given))
        assert list(store) == [item]
        assert next(iter(store)).metadata == item.metadata


def test_a_vote_takes_a_pair_apart_again(store: DemonstrationStore) -> None:
    store.add([up("Ahoy!", thumb="up", user=1), down("No idea.", user=2)])
    (pair,) = store
    assert pair.is_pair
    report = store.add([down("Ahoy!", thumb="down", user=3)])
    assert report == AddReport(added=1)
    kept = {item.chosen or item.rejected: item for item in store}
    assert kept["No idea."].metadata == {"user": 2}
    assert votes_of(kept["Ahoy!"]) == {"up": 1, "down": 1}
    assert [item.demonstration for item in TwoStageRetriever(store).retrieve(PROMPT)] == []
    store.add([up("Ahoy!", thumb="up", user=4)])
    (pair,) = store
    assert (pair.chosen, pair.rejected) == ("Ahoy!", "No idea.")
    assert [vote["user"] for vote in pair.metadata["thumbs"]] == [1, 3, 4]


def test_a_pair_that_a_file_made_of_thumbs_is_two_thumbs(store: DemonstrationStore, tmp_path: Path) -> None:
    logs = [
        [("Ahoy!", "up", 1)],
        [("Ahoy!", "up", 2), ("No idea.", "down", 2)],
        [("Ahoy!", "down", 3), ("No idea.", "up", 3), ("Aye!", "up", 3)],
        [("Ahoy!", "down", 4), ("Ahoy!", "down", 5)],
    ]
    held = []
    for number, log in enumerate(logs):
        path = tmp_path / f"{number}.jsonl"
        rows = [
            {"prompt": PROMPT, "completion": answer, "label": thumb == "up", "user": user}
            for answer, thumb, user in log
        ]
        path.write_text("\n".join(map(json.dumps, rows)))
        for _ in range(2):
            report = store.add(read_demonstrations(path))
            assert report.total == len(list(read_demonstrations(path)))
        assert report.added == 0
        held.append({(item.chosen, item.rejected) for item in store if not is_tie(item)})
    assert held[0] == {("Ahoy!", None)}
    assert held[1] == {("Ahoy!", "No idea.")}
    assert held[2] == {("Ahoy!", None), ("Aye!", None)}  # of "No idea." the votes are a tie
    assert held[3] == {("Aye!", "Ahoy!")}


def test_thumbs_that_are_not_marked_contradict_each_other_once(store: DemonstrationStore) -> None:
    store.add([up("Ahoy!", row=1), down("Ahoy!", row=2), up("Ahoy!", row=3)])
    (item,) = store
    assert votes_of(item) == {"up": 1, "down": 1}
    assert store.add([up("Other", topic="a")]) == AddReport(added=1)
    assert store.add([up("Other", topic="b")]) == AddReport(updated=1)
    assert {item.metadata.get("topic") for item in store} == {None, "b"}


@pytest.mark.parametrize("thumbs", [7, "many", ["up"], [{"thumb": "sideways"}], [], {"thumb": "up"}], ids=str)
def test_metadata_of_the_same_names_are_kept(store: DemonstrationStore, thumbs: Any) -> None:
    metadata = {"thumbs": thumbs, "thumb": "green", "rejected_metadata": 3}
    store.add([up("Ahoy!", **metadata), Demonstration("q", "a", "b", metadata)])
    assert [item.metadata for item in store] == [metadata, metadata]


def test_metadata_at_the_limit_of_nesting_are_no_obstacle(store: DemonstrationStore) -> None:
    deep: Any = "x"
    for _ in range(63):
        deep = [deep]
    given = [up("Ahoy!", thumb="up", a=deep), down("No idea.", thumb="down", a=deep)]
    store.add([*given, up("Ahoy!", thumb="up", a=deep, user=2)])
    assert ids(store) == ids(given)
    assert all(item.metadata["a"] == deep for item in store)


@given(st.lists(st.tuples(st.sampled_from("ud"), st.sampled_from("abc"), st.integers(0, 2)), max_size=8))
@settings(deadline=None, max_examples=20)
def test_an_export_imports_back_to_the_same_store(rows: list[tuple[str, str, int]]) -> None:
    given = [
        (up if side == "u" else down)(answer, thumb="up" if side == "u" else "down", user=user)
        for side, answer, user in rows
    ]
    with (
        tempfile.TemporaryDirectory() as directory,
        DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store,
        DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as again,
    ):
        store.add(given)
        path = Path(directory, "all.jsonl")
        store.export(path)
        again.add(read_demonstrations(path))
        assert {item.id: item.metadata for item in again} == {item.id: item.metadata for item in store}
        assert store.add(list(store)) == AddReport(unchanged=len(store))
        for item in store:
            assert item.chosen != item.rejected
        ups = {item.chosen for item in store if item.is_pair}
        assert not ups & {item.chosen for item in store if not item.is_pair}
