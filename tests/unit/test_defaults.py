"""What is built where nothing was given is shared."""

from pathlib import Path
from typing import Any

import pytest

from icdpo_chains import (
    ICDPO,
    Demonstration,
    DemonstrationStore,
    FakeEmbedder,
    FakePolicy,
    FixedDemonstrations,
    defaults,
)
from icdpo_chains.defaults import default_icdpo, default_retriever


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    made: list[Any] = []

    def build(model: Any, **options: Any) -> ICDPO:
        made.append((model, options))
        return ICDPO(FakePolicy(["yes"]), FixedDemonstrations([Demonstration("q", "a", "b")]))

    monkeypatch.setattr(ICDPO, "from_defaults", build)
    monkeypatch.setattr(defaults, "_latest", None)
    return made


def test_equal_settings_share_one_and_others_do_not(
    built: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = default_icdpo("m")
    assert default_icdpo("m") is first
    assert default_icdpo("m", against="base") is not first
    assert len(built) == 2
    other = default_icdpo("m")
    monkeypatch.setenv("ICDPO_STORE", "elsewhere")
    assert default_icdpo("m") is not other
    assert len(built) == 4


def test_a_store_is_told_from_another(built: list[Any], tmp_path: Path) -> None:
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        assert default_icdpo("m", store=store) is default_icdpo("m", store=store)
    assert default_icdpo("m", store=tmp_path) is default_icdpo("m", store=str(tmp_path))
    assert [options["store"] for _, options in built] == [store, tmp_path]


def test_a_retriever_over_a_store_or_its_directory() -> None:
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        store.add([Demonstration("q", "a", "b")])
        assert len(default_retriever(store).retrieve("q")) == 1
