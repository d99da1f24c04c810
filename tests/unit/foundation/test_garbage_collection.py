from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from icdpo_chains.foundation.garbage_collection import paused_garbage_collection


class Node:
    """Refers to itself, so that only the garbage collection frees it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def running() -> Iterator[None]:
    gc.unfreeze()
    gc.enable()
    yield
    gc.unfreeze()
    gc.enable()


def test_the_collection_is_paused_and_runs_again():
    with paused_garbage_collection():
        assert not gc.isenabled()
        with paused_garbage_collection():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_collection_runs_again_after_an_error():
    with pytest.raises(ZeroDivisionError), paused_garbage_collection():
        1 / 0  # noqa: B018
    assert gc.isenabled()


def test_a_paused_collection_stays_paused():
    gc.disable()
    with paused_garbage_collection():
        pass
    assert not gc.isenabled()


def test_garbage_of_the_pause_is_freed_later():
    with paused_garbage_collection():
        node = weakref.ref(Node())
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert node() is None


def test_frozen_objects_stay_frozen():
    node = Node()
    gc.freeze()
    with paused_garbage_collection():
        pass
    assert not any(each is node for each in gc.get_objects())


def test_a_command_keeps_its_objects_frozen():
    with paused_garbage_collection(freeze=True):
        node = Node()
    assert gc.isenabled()
    assert not any(each is node for each in gc.get_objects())
    with paused_garbage_collection():
        pass
    assert not any(each is node for each in gc.get_objects())
