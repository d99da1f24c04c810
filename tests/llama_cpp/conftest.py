"""The default model in llama.cpp, as published and in float32. See `make test-llama-cpp`."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

import pytest

from icdpo_chains import TransformersPolicy
from icdpo_chains.packaged_models.catalog import DEFAULT_MODEL, fetch_gguf, resolve
from icdpo_chains.packaged_models.download import load_gguf
from icdpo_chains.policies.llama_cpp import LlamaCppPolicy

llama_cpp = pytest.importorskip(
    "llama_cpp", reason="llama-cpp-python is not installed: `make test-llama-cpp`"
)

EXACT = {"type_k": "f32", "type_v": "f32", "flash_attn": False, "n_threads": 2}
"""Options that leave nothing but the order of sums to rounding."""


@pytest.fixture(scope="session")
def quantized_file() -> Path:
    return fetch_gguf(DEFAULT_MODEL)


@pytest.fixture(scope="session")
def float32_file(quantized_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights, unpacked by llama.cpp."""
    file = tmp_path_factory.mktemp("gguf") / "smollm2-f32.gguf"
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize = 0, True
    done = llama_cpp.llama_model_quantize(
        str(quantized_file).encode(), str(file).encode(), ctypes.byref(params)
    )
    assert done == 0
    return file


@pytest.fixture(scope="session")
def exact(float32_file: Path) -> Iterator[LlamaCppPolicy]:
    policy = LlamaCppPolicy.from_pretrained(float32_file, tokenizer=resolve(DEFAULT_MODEL), **EXACT)
    yield policy
    policy.close()


@pytest.fixture(scope="session")
def quantized() -> Iterator[LlamaCppPolicy]:
    policy = LlamaCppPolicy.from_pretrained(n_threads=2)
    yield policy
    policy.close()


@pytest.fixture(scope="session")
def twin(float32_file: Path) -> TransformersPolicy:
    """The same file, read by transformers in float32."""
    import torch
    from transformers import AutoTokenizer

    model, _ = load_gguf(float32_file, torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(resolve(DEFAULT_MODEL))
    return TransformersPolicy(model.eval(), tokenizer, "twin")


@pytest.fixture(scope="session")
def context(exact: LlamaCppPolicy) -> list[int]:
    text = exact.tokenizer.apply_chat_template(
        [{"role": "user", "content": "What do bees eat in winter, when nothing is in flower?"}],
        tokenize=False,
        add_generation_prompt=True,
    )
    return list(exact.tokenizer(text, add_special_tokens=False).input_ids)


@pytest.fixture(scope="session")
def other_context(exact: LlamaCppPolicy) -> list[int]:
    text = "The recipe of my grandmother's bread, which everybody in the village asked for, begins with"
    return list(exact.tokenizer(text, add_special_tokens=False).input_ids)
