"""The model and the store of a command are loaded at the same time."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from icdpo_chains import DemonstrationStore, FakeEmbedder, FakePolicy, ICDPOConfig
from icdpo_chains.cli import loading, options
from icdpo_chains.errors import PolicyError, StoreLockedError, StoreUnavailableError
from icdpo_chains.packaged_models import catalog

# A server's model, so that nothing imports torch.
REMOTE = ICDPOConfig().changed({"vllm": "http://127.0.0.1:1"})
STATUS = cast(Any, SimpleNamespace(update=lambda text: None))


@pytest.fixture(autouse=True)
def without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "is_cached", lambda name: True)
    monkeypatch.setattr(catalog, "resolve", lambda name, **_: name)


class Store(DemonstrationStore):
    """A store in memory that notes its end."""

    closed = False

    def close(self) -> None:
        type(self).closed = True
        super().close()


def test_both_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = FakePolicy()
    monkeypatch.setattr(loading, "load_policy", lambda status, config: policy)
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        monkeypatch.setattr(options, "open_store", lambda *_, **__: store)
        assert loading.build_icdpo(STATUS, REMOTE).policy is policy


def test_the_store_is_closed_if_the_model_can_not_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(status: Any, config: Any) -> None:
        raise PolicyError("no such model")

    monkeypatch.setattr(loading, "load_policy", fail)
    monkeypatch.setattr(options, "open_store", lambda *_, **__: Store.ephemeral(embedder=FakeEmbedder()))
    with pytest.raises(PolicyError, match="no such model"):
        loading.build_icdpo(STATUS, REMOTE)
    assert Store.closed


def test_a_store_that_can_not_be_opened_is_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(*_: Any, **__: Any) -> None:
        raise StoreLockedError("in use")

    monkeypatch.setattr(loading, "load_policy", lambda status, config: FakePolicy())
    monkeypatch.setattr(options, "open_store", locked)
    with pytest.raises(StoreLockedError, match="in use"):
        loading.build_icdpo(STATUS, REMOTE)


def test_a_directory_without_a_store_is_refused_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(loading, "load_policy", lambda *_: pytest.fail("the model was loaded"))
    monkeypatch.setattr(catalog, "is_cached", lambda name: pytest.fail("models were looked for"))
    with pytest.raises(StoreUnavailableError, match=r"there is no store in .*new"):
        loading.build_icdpo(STATUS, REMOTE.changed({"store": str(tmp_path / "new")}))
