"""The files of an Ollama installation, without Ollama."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from icdpo_chains.errors import PolicyError
from icdpo_chains.policies.llama_cpp.ollama import ollama_gguf

DIGEST = "a" * 64


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path))
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / f"sha256-{DIGEST}").write_bytes(b"GGUF")
    pull(tmp_path, "library/qwen2.5/7b")
    pull(tmp_path, "library/phi3/latest")
    pull(tmp_path, "somebody/own/latest")
    return tmp_path


def pull(models: Path, name: str, digest: str = f"sha256:{DIGEST}", host: str = "registry.example") -> Path:
    manifest = models / "manifests" / host / name
    manifest.parent.mkdir(parents=True)
    layers = [
        {"mediaType": "application/vnd.ollama.image.template", "digest": f"sha256:{'b' * 64}"},
        {"mediaType": "application/vnd.ollama.image.model", "digest": digest},
    ]
    manifest.write_text(json.dumps({"layers": layers}))
    return manifest


@pytest.mark.parametrize("name", ["qwen2.5:7b", "library/qwen2.5:7b", "phi3", "phi3:latest", "somebody/own"])
def test_a_name_finds_its_file(models: Path, name: str):
    assert ollama_gguf(name) == models / "blobs" / f"sha256-{DIGEST}"


@pytest.mark.parametrize(
    "name",
    ["hf.co/somebody/own-GGUF:Q4_K_M", "registry.example/library/phi3", "registry.example/somebody/own"],
)
def test_a_name_with_its_host(models: Path, name: str):
    pull(models, "somebody/own-GGUF/Q4_K_M", host="hf.co")
    assert ollama_gguf(name) == models / "blobs" / f"sha256-{DIGEST}"


def test_two_hosts_have_a_model_of_one_name(models: Path):
    pull(models, "somebody/own/latest", f"sha256:{'c' * 64}", host="hf.co")
    assert ollama_gguf("somebody/own").name == f"sha256-{DIGEST}"
    with pytest.raises(PolicyError, match=r"weights of hf\.co/somebody/own are missing"):
        ollama_gguf("hf.co/somebody/own")


def test_an_adapter_is_not_left_out_silently(models: Path):
    manifest = pull(models, "somebody/tuned/latest")
    content = json.loads(manifest.read_text())
    content["layers"].append(
        {"mediaType": "application/vnd.ollama.image.adapter", "digest": f"sha256:{'d' * 64}"}
    )
    manifest.write_text(json.dumps(content))
    with pytest.raises(PolicyError, match=r"somebody/tuned .* has a LoRA adapter.*merge"):
        ollama_gguf("somebody/tuned")


@pytest.mark.parametrize("name", ["qwen2.5", "llama3", "", "../../etc/passwd", "own"])
def test_an_unknown_name_lists_the_known_ones(models: Path, name: str):
    with pytest.raises(PolicyError, match=r"it has phi3:latest, qwen2\.5:7b, somebody/own:latest"):
        ollama_gguf(name)


def test_no_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "none"))
    with pytest.raises(PolicyError, match=r"no model at all.*OLLAMA_MODELS"):
        ollama_gguf("phi3")


@pytest.mark.parametrize("digest", ["sha256:../../secret", "sha256:" + "a" * 63, "md5:1", 7, None])
def test_a_digest_never_leaves_the_directory(models: Path, digest: object):
    pull(models, "library/evil/latest", digest)  # type: ignore[arg-type]
    with pytest.raises(PolicyError, match="names no weights"):
        ollama_gguf("evil")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"layers": 3}', '{"layers": [1]}', "[" * 5000])
def test_a_broken_manifest(models: Path, content: str):
    pull(models, "library/broken/latest").write_text(content)
    with pytest.raises(PolicyError, match="is not a manifest of Ollama"):
        ollama_gguf("broken")


def test_weights_that_are_gone(models: Path):
    (models / "blobs" / f"sha256-{DIGEST}").unlink()
    with pytest.raises(PolicyError, match="the weights of phi3 are missing"):
        ollama_gguf("phi3")
