"""Which file of a directory or repository is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from icdpo_chains.errors import PolicyError
from icdpo_chains.policies.llama_cpp.files import find_gguf
from icdpo_chains.policies.llama_cpp.policy import LlamaCppPolicy

FILES = (
    "model-q4_k_m.gguf",
    "model-Q8_0.gguf",
    "README.md",
    "big-00002-of-00002.gguf",
    "big-00001-of-00002.gguf",
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).write_bytes(b"GGUF")
    return tmp_path


def find(name: object, pattern: str | None = None) -> Path:
    return find_gguf(str(name), pattern, revision=None, token=None)


def test_a_file(directory: Path):
    assert find(directory / "model-Q8_0.gguf") == directory / "model-Q8_0.gguf"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*q4_k_m*", "model-q4_k_m.gguf"),
        ("*Q4_K_M.gguf", "model-q4_k_m.gguf"),
        ("model-q8_0.gguf", "model-Q8_0.gguf"),
        ("big*", "big-00001-of-00002.gguf"),
    ],
)
def test_a_pattern_fits_one_model_in_any_case(directory: Path, pattern: str, found: str):
    assert find(directory, pattern) == directory / found


@pytest.mark.parametrize(
    ("pattern", "said"),
    [(None, "more than one GGUF file"), ("*q2*", "no such GGUF file like"), ("model*", "more than one")],
)
def test_no_file_or_several(directory: Path, pattern: str | None, said: str):
    with pytest.raises(PolicyError, match=rf"{said}.*model-Q8_0\.gguf.*gguf_file"):
        find(directory, pattern)


@pytest.mark.parametrize("name", ["./none", "~/none", "/none", "none.gguf"])
def test_a_path_that_does_not_exist_is_no_hub_name(name: str):
    with pytest.raises(PolicyError, match="there is no"):
        find(name)


def test_a_hub_that_is_not_reached(monkeypatch: pytest.MonkeyPatch):
    import huggingface_hub

    def unreachable(*given: object, **options: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", unreachable)
    with pytest.raises(PolicyError, match=r"'some/model' can't be fetched: no route.*gguf_file"):
        find("some/model", "*q4*")


def test_a_quantization_behind_a_hub_name(monkeypatch: pytest.MonkeyPatch, directory: Path):
    import huggingface_hub

    asked = []
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda self, name, revision: list(FILES))
    monkeypatch.setattr(
        huggingface_hub,
        "hf_hub_download",
        lambda name, file, **options: asked.append((name, file)) or str(directory / file),
    )
    assert find("some/model-GGUF:Q4_K_M") == directory / "model-q4_k_m.gguf"
    assert asked == [("some/model-GGUF", "model-q4_k_m.gguf")]


def test_a_model_of_ollama(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path))
    with pytest.raises(PolicyError, match=r"Ollama has no model 'qwen2\.5:7b'"):
        find("ollama:qwen2.5:7b")


def test_without_llama_cpp_python(monkeypatch: pytest.MonkeyPatch, directory: Path):
    monkeypatch.setitem(__import__("sys").modules, "llama_cpp", None)
    with pytest.raises(PolicyError, match=r"pip install .*icdpo-chains\[llama-cpp\]"):
        LlamaCppPolicy.from_pretrained(directory / "model-Q8_0.gguf")
