"""Cores and events for the tests of the LlamaIndex integration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Settings
from llama_index.core.callbacks import CallbackManager
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler

from icdpo_chains import ICDPO, DemonstrationStore, FakeEmbedder
from llama_index_icdpo import ICDPOLLM, ICDPOEmbedding

from ..fake_core import DEMONSTRATIONS, make_core


@pytest.fixture
def core() -> ICDPO:
    return make_core()


@pytest.fixture
def llm(core: ICDPO) -> ICDPOLLM:
    return ICDPOLLM(icdpo=core)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DemonstrationStore]:
    with DemonstrationStore(tmp_path / "store", embedder=FakeEmbedder()) as filled:
        filled.add(DEMONSTRATIONS)
        yield filled


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    """No test sees the global settings of another, nor OpenAI's, which LlamaIndex falls back to."""
    Settings.embed_model = ICDPOEmbedding(FakeEmbedder())
    yield
    Settings._llm = None
    Settings._embed_model = None
    Settings._callback_manager = CallbackManager()


class Events(BaseEventHandler):
    """What LlamaIndex's instrumentation reports, by name."""

    seen: list[Any] = []  # noqa: RUF012 - pydantic copies it

    def handle(self, event: Any, **kwargs: Any) -> None:
        self.seen.append(event)

    def count(self, *names: str) -> dict[str, int]:
        counts = Counter(event.class_name() for event in self.seen)
        return {name: counts[name] for name in names}


@pytest.fixture
def events() -> Iterator[Events]:
    handler = Events()
    dispatcher = get_dispatcher()
    dispatcher.add_event_handler(handler)
    yield handler
    dispatcher.event_handlers.remove(handler)
