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
from icdpo_chains.config import ICDPOConfig
from icdpo_chains.defaults import default_icdpo, default_retriever


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    made: list[Any] = []

    def build(config: ICDPOConfig, **options: Any) -> ICDPO:
        made.append((config, options))
        return ICDPO(FakePolicy(["yes"]), FixedDemonstrations([Demonstration("q", "a", "b")]))

    monkeypatch.setattr(ICDPO, "from_config", build)
    monkeypatch.setattr(defaults, "_latest", None)
    return made


MODEL = ICDPOConfig(model="m")


def test_equal_settings_share_one_and_others_do_not(
    built: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = default_icdpo(MODEL)
    assert default_icdpo(ICDPOConfig(model="m")) is first
    assert default_icdpo(MODEL.changed({"against": "base"})) is not first
    assert len(built) == 2
    other = default_icdpo(MODEL)
    monkeypatch.setenv("ICDPO_STORE", "elsewhere")
    assert default_icdpo(MODEL) is not other
    assert len(built) == 4


def test_a_store_is_told_from_another(built: list[Any], tmp_path: Path) -> None:
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        assert default_icdpo(MODEL, store=store) is default_icdpo(MODEL, store=store)
    somewhere = MODEL.changed({"store": str(tmp_path)})
    assert default_icdpo(somewhere) is default_icdpo(somewhere)
    assert [options["store"] for _, options in built] == [store, None]


def test_a_tool_shares_the_model_of_a_chat_model(built: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from icdpo_chains.framework_settings import ICDPOSettings

    assert default_icdpo() is ICDPOSettings().core
    monkeypatch.setenv("ICDPO_MODEL", "other")
    assert default_icdpo() is ICDPOSettings().core
    assert [config.model for config, _ in built] == ["smollm2-135m-instruct", "other"]


def test_a_retriever_over_a_store_or_its_directory() -> None:
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        store.add([Demonstration("q", "a", "b")])
        assert len(default_retriever(store).retrieve("q")) == 1
