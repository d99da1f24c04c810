"""What the page does with one demonstration, and what it says then."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from icdpo_chains.demonstrations.changes import Changes
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import DemonstrationError, StoreError
from icdpo_chains.ui.demonstration_actions import loaded, remove, save, undo
from icdpo_chains.ui.demonstration_form import DemonstrationForm

EGG = DemonstrationForm("question", "How long does an egg boil?", "Eight minutes.", "Boil it!")


@pytest.fixture
def store() -> Iterator[DemonstrationStore]:
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        yield store


def test_add_edit_remove_and_undo_all(store: DemonstrationStore) -> None:
    changes = Changes()
    added = save(store, changes, None, EGG)
    assert added.message == "Added."
    edited = save(store, changes, added.demonstration.id, replace(EGG, chosen="Nine minutes."))
    assert edited.message == "Saved."
    assert [item.chosen for item in store] == ["Nine minutes."]
    assert remove(store, changes, edited.demonstration.id) == "Removed: “How long does an egg boil?”"
    assert len(store) == 0
    assert [undo(store, changes) for _ in range(4)] == [
        "Undone: removal of “How long does an egg boil?”",
        "Undone: edit of “How long does an egg boil?”",
        "Undone: addition of “How long does an egg boil?”",
        "There is nothing to undo",
    ]
    assert len(store) == 0


def test_what_changes_nothing_is_said_and_not_remembered(store: DemonstrationStore) -> None:
    changes = Changes()
    store.add([EGG.demonstration()])
    assert save(store, changes, None, EGG).message == "The store held it already"
    assert save(store, changes, EGG.demonstration().id, EGG).message == "Nothing was changed"
    assert changes.last is None


def test_a_thumb_that_becomes_a_pair_is_shown_as_the_pair(store: DemonstrationStore) -> None:
    store.add([Demonstration(EGG.prompt, None, "No idea.", {"thumb": "down"})])
    saved = save(store, Changes(), None, replace(EGG, rejected="", metadata='{"thumb": "up"}'))
    assert saved.demonstration.is_pair
    assert saved.demonstration.id in store
    assert "pair" in saved.message


def test_what_is_unusable_changes_nothing(store: DemonstrationStore) -> None:
    changes = Changes()
    store.add([EGG.demonstration()])
    with pytest.raises(DemonstrationError, match="blank"):
        save(store, changes, EGG.demonstration().id, replace(EGG, prompt=" "))
    with pytest.raises(DemonstrationError, match="neither"):
        save(store, changes, None, replace(EGG, chosen="", rejected=""))
    assert list(store) == [EGG.demonstration()]
    assert changes.last is None


def test_what_is_gone_is_said(store: DemonstrationStore) -> None:
    gone = EGG.demonstration().id
    for act in (
        lambda: loaded(store, gone),
        lambda: save(store, Changes(), gone, EGG),
        lambda: remove(store, Changes(), gone),
    ):
        with pytest.raises(StoreError, match="Look for it again"):
            act()


def test_an_undo_says_what_others_changed_since(store: DemonstrationStore) -> None:
    changes = Changes()
    saved = save(store, changes, None, EGG)
    save(store, Changes(), saved.demonstration.id, replace(EGG, chosen="Nine minutes."))
    assert undo(store, changes) == (
        "Not undone: addition of “How long does an egg boil?”. It changed again since, and stays as it is"
    )
    assert [item.chosen for item in store] == ["Nine minutes."]


def test_an_undo_in_part_says_so(store: DemonstrationStore) -> None:
    changes = Changes()
    items = [Demonstration(f"question {i}", "good", "bad") for i in range(2)]
    with changes.recording(store, "import") as recorder:
        store.add(recorder.noting(items))
    store.add([Demonstration("question 0", "better", "bad")])
    assert undo(store, changes) == "Undone in part: import. 1 of 2 questions changed again since, and stay"
    assert [item.chosen for item in store] == ["good", "better"]


def test_the_names_of_changes_are_short_and_visible(store: DemonstrationStore) -> None:
    changes = Changes()
    save(store, changes, None, replace(EGG, prompt="a\u202eb\n" + "c" * 500))
    assert changes.last is not None
    assert changes.last.startswith("addition of “a\\u202eb ccc")
    assert len(changes.last) < 70
