"""The command in this process, on fakes: no weights, no sockets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from icdpo_chains import Demonstration, DemonstrationStore, FakeEmbedder, FakePolicy
from icdpo_chains.cli import options
from icdpo_chains.cli.app import app
from icdpo_chains.config import ICDPOConfig

DEMONSTRATIONS = [
    Demonstration("I failed my exam.", "I am sorry to hear that. Shall we talk?", "Your own fault."),
    Demonstration("My cat is ill.", "I am sorry. Shall we talk about her?", "Whatever, deal with it."),
    Demonstration("How is glass made?", "By melting sand.", "No idea {x} [bold]."),
]
KIND, RUDE = "I am sorry. Shall we talk?", "Whatever. Your own fault."


@pytest.fixture
def icdpo() -> Callable[..., Any]:
    """Runs `icdpo` with these arguments; `.stdout`, `.stderr` and `.exit_code` say what came of it."""

    def run(*arguments: str, stdin: str | bytes = "") -> Any:
        return CliRunner().invoke(app, list(arguments), input=stdin)

    return run


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """Puts fakes in the models' place; returns what was asked to be built."""
    built: list[dict[str, Any]] = []

    def open_store(path: str | None, *, read_only: bool, embedder: Any = None) -> DemonstrationStore:
        place = Path(path or tmp_path / "own-store")
        if not place.exists():
            with DemonstrationStore(place, embedder=FakeEmbedder()) as store:
                store.add(DEMONSTRATIONS)
        return DemonstrationStore(place, embedder=embedder or FakeEmbedder(), read_only=read_only)

    def load(config: ICDPOConfig) -> FakePolicy:
        built.append({"model": config.model, "dtype": config.dtype, "device": config.device})
        return FakePolicy([RUDE, KIND])

    monkeypatch.setattr(options, "open_store", open_store)
    monkeypatch.setattr(options, "embedder", FakeEmbedder)
    monkeypatch.setattr(ICDPOConfig, "build_policy", load)
    monkeypatch.setattr("icdpo_chains.packaged_models.catalog.resolve", lambda name, on_progress=None: name)
    return built
