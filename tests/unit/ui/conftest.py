"""A backend on a fake policy, with a store in memory."""

from collections.abc import Iterator

import pytest

from icdpo_chains import ICDPO, Demonstration, DemonstrationStore, FakePolicy, ICDPOConfig
from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.ui.backend import Backend
from icdpo_chains.ui.session import Session

ANSWERS = ("You boil it.", "Eight minutes in boiling water.", "I do not know <b>that</b>.")


@pytest.fixture
def backend() -> Iterator[Backend]:
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        store.add(
            [
                Demonstration("How do I cook rice?", "Ten minutes in boiling water.", "No idea."),
                Demonstration("How do I oil a chain?", "One drop on each link.", "Use butter."),
            ]
        )
        settings = ICDPOConfig(n=3)
        yield Backend(ICDPO.from_config(settings, policy=FakePolicy(ANSWERS), store=store), store, settings)


@pytest.fixture
def session() -> Session:
    return Session()
