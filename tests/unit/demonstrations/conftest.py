"""A store in memory, and demonstrations to fill it with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.demonstrations.store import DemonstrationStore


def numbered(count: int, **metadata: Any) -> list[Demonstration]:
    return [
        Demonstration(
            f"question {i} about w{i % 7}", f"good {i}", f"bad {i}" if i % 2 else None, metadata | {"row": i}
        )
        for i in range(count)
    ]


@pytest.fixture
def store() -> Iterator[DemonstrationStore]:
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        yield store
