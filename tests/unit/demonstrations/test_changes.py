"""`Changes`: the last change can be undone, exactly, and nothing that somebody else did."""

import copy
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icdpo_chains.demonstrations.changes import Changes
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import StoreError

EGG, CHAIN = "How long does an egg boil?", "How do I oil a chain?"
UP = Demonstration(EGG, "Eight minutes.", None, {"thumb": "up"})
DOWN = Demonstration(EGG, None, "No idea.", {"thumb": "down"})
PAIR = Demonstration(CHAIN, "A drop a link.", "With butter.", {"by": "ann"})


def contents(store: DemonstrationStore) -> dict[str, dict[str, object]]:
    return {item.id: item.to_dict() for item in store}


def added(changes: Changes, store: DemonstrationStore, *items: Demonstration) -> None:
    with changes.recording(store, "added") as recorder:
        store.add(recorder.noting(items))


def test_an_addition_is_undone(store: DemonstrationStore) -> None:
    changes = Changes()
    store.add([UP])
    added(changes, store, PAIR)
    assert changes.last == "added"
    undone = changes.undo(store)
    assert undone is not None
    assert (undone.what, undone.prompts, undone.left) == ("added", 1, 0)
    assert list(contents(store)) == [UP.id]
    assert changes.last is None
    assert changes.undo(store) is None


def test_a_thumb_that_became_part_of_a_pair_is_undone(store: DemonstrationStore) -> None:
    changes = Changes()
    store.add([UP])
    added(changes, store, DOWN)
    assert [item.is_pair for item in store] == [True]
    changes.undo(store)
    assert contents(store) == {UP.id: UP.to_dict()}


def test_a_removal_is_undone(store: DemonstrationStore) -> None:
    changes = Changes()
    store.add([UP, PAIR])
    before = contents(store)
    with changes.recording(store, "removed") as recorder:
        recorder.note([PAIR])
        store.remove(PAIR.id)
    assert len(store) == 1
    changes.undo(store)
    assert contents(store) == before


def test_changed_metadata_are_undone(store: DemonstrationStore) -> None:
    changes = Changes()
    store.add([PAIR])
    added(changes, store, Demonstration(CHAIN, PAIR.chosen, PAIR.rejected, {"checked": True}))
    assert store.list()[0].metadata == {"checked": True}
    changes.undo(store)
    assert contents(store) == {PAIR.id: PAIR.to_dict()}


def test_what_changes_nothing_is_not_recorded(store: DemonstrationStore) -> None:
    changes = Changes()
    store.add([PAIR])
    added(changes, store, PAIR)
    assert changes.last is None


def test_an_import_that_fails_half_way_is_undone(store: DemonstrationStore) -> None:
    changes = Changes()

    def rows() -> Iterator[Demonstration]:
        yield PAIR
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"), changes.recording(store, "imported") as recorder:
        store.add(recorder.noting(rows()))
    assert len(store) == 1
    changes.undo(store)
    assert len(store) == 0


def test_what_somebody_else_changed_since_stays(store: DemonstrationStore) -> None:
    changes, other = Changes(), Changes()
    added(changes, store, UP, PAIR)
    added(other, store, DOWN)
    undone = changes.undo(store)
    assert undone is not None
    assert (undone.prompts, undone.left) == (1, 1)
    assert [item.prompt for item in store] == [EGG]
    assert [item.is_pair for item in store] == [True]
    other.undo(store)
    assert contents(store) == {UP.id: UP.to_dict()}


def test_changes_are_undone_newest_first_and_the_last_twenty_are_kept(store: DemonstrationStore) -> None:
    changes = Changes()
    for number in range(22):
        with changes.recording(store, f"change {number}") as recorder:
            store.add(recorder.noting([Demonstration(f"question {number}", "yes")]))
    assert [undone.what for _ in range(22) if (undone := changes.undo(store))] == [
        f"change {number}" for number in range(21, 1, -1)
    ]
    assert len(store) == 2


def test_an_undo_that_fails_can_be_tried_again(
    store: DemonstrationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = Changes()
    store.add([UP])
    added(changes, store, DOWN)
    with monkeypatch.context() as patch:
        patch.setattr(store, "remove", lambda ids: (_ for _ in ()).throw(StoreError("the disk is full")))
        with pytest.raises(StoreError, match="full"):
            changes.undo(store)
    assert UP.id in store
    assert changes.last == "added"


def test_an_edit_takes_the_place_of_what_was_there(store: DemonstrationStore) -> None:
    changes = Changes()
    store.add([PAIR])
    new = Demonstration(CHAIN, "A drop on every link.", PAIR.rejected, PAIR.metadata)
    assert changes.replace(store, PAIR, new, "edited") == new
    assert contents(store) == {new.id: new.to_dict()}
    changes.undo(store)
    assert contents(store) == {PAIR.id: PAIR.to_dict()}


def test_an_edit_of_the_question_moves_a_demonstration(store: DemonstrationStore) -> None:
    changes = Changes()
    store.add([PAIR, UP])
    before = contents(store)
    new = Demonstration(EGG, PAIR.chosen, PAIR.rejected)
    changes.replace(store, PAIR, new, "edited")
    assert contents(store) == {UP.id: UP.to_dict(), new.id: new.to_dict()}
    changes.undo(store)
    assert contents(store) == before


def test_an_edited_pair_of_thumbs_keeps_its_other_half(store: DemonstrationStore) -> None:
    changes = Changes()
    store.add([UP, DOWN])
    (pair,) = store
    new = Demonstration(EGG, "Nine minutes.", pair.rejected, pair.metadata)
    place = changes.replace(store, pair, new, "edited")
    assert [(item.chosen, item.rejected) for item in store] == [("Nine minutes.", "No idea.")]
    assert place == store.list()[0]
    changes.undo(store)
    assert contents(store) == {pair.id: pair.to_dict()}


def test_an_edited_thumb_changes_sides(store: DemonstrationStore) -> None:
    changes = Changes()
    store.add([UP])
    changes.replace(store, UP, Demonstration(EGG, None, UP.chosen, {"thumb": "down"}), "edited")
    assert [(item.chosen, item.rejected) for item in store] == [(None, UP.chosen)]


def test_an_edited_thumb_joins_the_others_of_its_new_question(store: DemonstrationStore) -> None:
    changes = Changes()
    lone = Demonstration(CHAIN, None, "No idea.", {"thumb": "down"})
    store.add([UP, lone])
    before = contents(store)
    place = changes.replace(store, lone, DOWN, "edited")
    assert (place.chosen, place.rejected) == (UP.chosen, "No idea.")
    assert len(store) == 1
    changes.undo(store)
    assert contents(store) == before


def test_an_edit_of_metadata_alone(store: DemonstrationStore) -> None:
    changes = Changes()
    store.add([PAIR])
    changes.replace(store, PAIR, Demonstration(CHAIN, PAIR.chosen, PAIR.rejected, {"by": "bo"}), "edited")
    assert [item.metadata for item in store] == [{"by": "bo"}]


def test_what_is_gone_is_not_edited(store: DemonstrationStore) -> None:
    changes = Changes()
    with pytest.raises(StoreError, match="no longer"):
        changes.replace(store, PAIR, UP, "edited")
    assert len(store) == 0
    assert changes.last is None


def test_a_copy_is_another_history(store: DemonstrationStore) -> None:
    changes = Changes()
    added(changes, store, PAIR)
    other = copy.deepcopy(changes)
    changes.undo(store)
    assert other.last == "added"


texts = st.sampled_from(["a", "b", "c"])
votes = st.sampled_from([{}, {"thumb": "up"}, {"thumb": "down"}, {"user": "x", "thumb": "up"}, {"user": "y"}])


@st.composite
def demonstrations(draw: st.DrawFn) -> Demonstration:
    chosen, rejected = draw(st.one_of(st.none(), texts)), draw(st.one_of(st.none(), texts))
    if chosen == rejected:
        chosen, rejected = "a", None
    return Demonstration(draw(st.sampled_from(["p", "q"])), chosen, rejected, draw(votes))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(demonstrations(), max_size=5),
    st.lists(
        st.tuples(st.sampled_from(["add", "remove", "replace"]), demonstrations(), st.integers(0, 9)),
        min_size=1,
        max_size=4,
    ),
)
def test_whatever_was_done_is_undone(
    start: list[Demonstration], steps: list[tuple[str, Demonstration, int]]
) -> None:
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        store.add(start)
        changes, states = Changes(), [contents(store)]
        for step, item, number in steps:
            there = list(store)
            if step == "add" or not there:
                added(changes, store, item)
            elif step == "remove":
                with changes.recording(store, step) as recorder:
                    recorder.note([there[number % len(there)]])
                    store.remove(there[number % len(there)].id)
            else:
                changes.replace(store, there[number % len(there)], item, step)
            if contents(store) != states[-1]:
                states.append(contents(store))
        for state in reversed(states[:-1]):
            changes.undo(store)
            assert contents(store) == state
        assert changes.undo(store) is None
