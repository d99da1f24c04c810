"""Which file of a directory or repository is meant."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

from icdpo_chains.errors import PolicyError
from icdpo_chains.policies.engines import load_policy
from icdpo_chains.policies.llama_cpp.files import find_gguf
from icdpo_chains.policies.llama_cpp.policy import LlamaCppPolicy

FILES = (
    "model-q4_k_m.gguf",
    "model-Q8_0.gguf",
    "README.md",
    "big-00002-of-00002.gguf",
    "big-00001-of-00002.gguf",
)
QUANTIZED = (
    "m-Q2_K.gguf",
    "m-Q2_K_L.gguf",
    "m-F16.gguf",
    "m-BF16.gguf",
    "mmproj-m-F16.gguf",
    "Q8_0/m-Q8_0-00001-of-00002.gguf",
    "Q8_0/m-Q8_0-00002-of-00002.gguf",
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
        ("big-00001-of-00002.gguf", "big-00001-of-00002.gguf"),
        ("big-00002*", "big-00001-of-00002.gguf"),
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


def test_a_file_for_images_is_no_second_model(tmp_path: Path):
    for name in ("model.gguf", "mmproj-model-f16.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    assert find(tmp_path) == tmp_path / "model.gguf"


@pytest.mark.parametrize("part", ["big-00001-of-00002.gguf", "big-00002-of-00002.gguf"])
def test_any_part_stands_for_a_model_in_several_files(directory: Path, part: str):
    assert find(directory / part) == directory / "big-00001-of-00002.gguf"


def test_a_part_that_is_missing(directory: Path):
    (directory / "big-00002-of-00002.gguf").unlink()
    with pytest.raises(PolicyError, match=r"lacks big-00002-of-00002\.gguf: download all 2 parts"):
        find(directory / "big-00001-of-00002.gguf")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_a_pipe(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(PolicyError, match="neither a file nor a directory"):
        find(tmp_path / "pipe.gguf")


@pytest.mark.parametrize("name", ["./none", "~/none", "/none", "none.gguf"])
def test_a_path_that_does_not_exist_is_no_hub_name(name: str):
    with pytest.raises(PolicyError, match="there is no"):
        find(name)


class OtherLibraryError(Exception):
    """An error of an HTTP library that the hub's library may come to use."""


def unreachable(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    import huggingface_hub

    def refuse(*given: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", refuse)


@pytest.mark.parametrize(
    ("said", "shown"), [("no route\nbut a line", "no route"), ("", "no reason is given")]
)
def test_a_hub_that_is_not_reached_is_told_as_by_the_other_engine(
    monkeypatch: pytest.MonkeyPatch, said: str, shown: str
):
    unreachable(monkeypatch, ConnectionError(said))
    reason = rf"the hub can't be reached \({shown}\), and the cache does not have it.*\. Give a GGUF"
    with pytest.raises(PolicyError, match=rf"'some/model-of-nobody' can't be fetched: {reason}"):
        find("some/model-of-nobody:Q4_K_M")


@pytest.mark.parametrize("kind", [httpx.ConnectError, OtherLibraryError])
@pytest.mark.parametrize(("said", "shown"), [("no route\nbut a line", "no route"), ("", "[A-Z][A-Za-z]+")])
def test_a_hub_that_is_not_reached(
    monkeypatch: pytest.MonkeyPatch, kind: type[Exception], said: str, shown: str
):
    unreachable(monkeypatch, kind(said))
    with pytest.raises(PolicyError, match=rf"'some/model-of-nobody' can't be fetched: {shown}\. Give a GGUF"):
        find("some/model-of-nobody:Q4_K_M")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("some/model:Q4_K_M", "model-q4_k_m.gguf"),
        ("some/model:model-Q8_0.gguf", "model-Q8_0.gguf"),
        ("some/model:big", "big-00001-of-00002.gguf"),
    ],
)
def test_without_the_hub_an_earlier_download_serves(
    monkeypatch: pytest.MonkeyPatch, directory: Path, name: str, found: str
):
    import huggingface_hub

    unreachable(monkeypatch, OtherLibraryError("no route"))
    asked = []
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda name, **options: asked.append((name, options)) or str(directory),
    )
    assert find(name) == directory / found
    assert asked == [("some/model", {"revision": None, "local_files_only": True})]


@pytest.mark.parametrize(
    ("quantization", "files"),
    [
        ("Q2_K", ["m-Q2_K.gguf"]),
        ("q2_k_l", ["m-Q2_K_L.gguf"]),
        ("F16", ["m-F16.gguf"]),
        ("BF16", ["m-BF16.gguf"]),
        ("Q8_0", ["Q8_0/m-Q8_0-00001-of-00002.gguf", "Q8_0/m-Q8_0-00002-of-00002.gguf"]),
        ("Q8_0/m-Q8_0-00001-of-00002.gguf", [*QUANTIZED[5:]]),
        ("m-Q2_K.gguf", ["m-Q2_K.gguf"]),
    ],
)
def test_a_quantization_is_its_whole_name(
    monkeypatch: pytest.MonkeyPatch, quantization: str, files: list[str]
):
    import huggingface_hub

    asked: list[str] = []
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda self, name, **rest: [*QUANTIZED])
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda name, file, **options: asked.append(file) or f"/hub/{file}"
    )
    assert find(f"some/model-GGUF:{quantization}") == Path("/hub") / files[0]
    assert asked == files


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


def test_a_model_of_ollama_with_transformers():
    with pytest.raises(PolicyError, match=r"'ollama:phi3' is a model of Ollama.*engine='llama\.cpp'"):
        load_policy("transformers", "ollama:phi3", revision=None, weights={})
