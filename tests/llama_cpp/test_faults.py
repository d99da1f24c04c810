"""Files, options and uses that `LlamaCppPolicy` refuses, and memory that it frees."""

from __future__ import annotations

import errno
import gc
import multiprocessing
import os
import signal
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from icdpo_chains import SamplingParams
from icdpo_chains.errors import PolicyError, PolicyMemoryError
from icdpo_chains.packaged_models import gguf_cache
from icdpo_chains.packaged_models.catalog import DEFAULT_MODEL, resolve
from icdpo_chains.policies.llama_cpp import LlamaCppPolicy
from icdpo_chains.policies.llama_cpp import model as model_module

gguf = pytest.importorskip("gguf")

SAMPLING = SamplingParams(max_new_tokens=4, seed=7)


def copy(source: Path, target: Path, *, vocabulary: bool = True, causal: bool = True) -> Path:
    """Writes a GGUF file again, without its vocabulary, or as a model of both directions."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "llama")
    for name, field in reader.fields.items():
        if name.startswith(("llama.", *(["tokenizer."] if vocabulary else []))):
            more = {"sub_type": field.types[-1]} if field.types[0] == gguf.GGUFValueType.ARRAY else {}
            writer.add_key_value(name, field.contents(), field.types[0], **more)
    if not vocabulary:
        writer.add_tokenizer_model("none")
    if not causal:
        writer.add_causal_attention(False)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, np.array(tensor.data), raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


@pytest.fixture
def own() -> LlamaCppPolicy:
    return LlamaCppPolicy.from_pretrained(n_threads=2)


# Files.


@pytest.mark.parametrize(
    ("options", "said"),
    [({"vocabulary": False}, "has no vocabulary"), ({"causal": False}, "model of both directions")],
)
def test_a_file_that_continues_no_text(quantized_file: Path, tmp_path: Path, options, said):
    file = copy(quantized_file, tmp_path / "other.gguf", **options)
    with pytest.raises(PolicyError, match=rf"other\.gguf .*{said}.*give the file of a language model"):
        LlamaCppPolicy.from_pretrained(file, tokenizer=resolve(DEFAULT_MODEL))


def test_the_reason_of_llama_cpp_is_told_once(quantized_file: Path, tmp_path: Path, caplog):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(quantized_file.read_bytes()[: 1 << 20])
    with (
        caplog.at_level("INFO"),
        pytest.raises(PolicyError, match=r"cut\.gguf: .*(failed|error).*\. Download"),
    ):
        LlamaCppPolicy.from_pretrained(cut)
    assert not [record for record in caplog.records if record.name.startswith("icdpo_chains")]


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX alone")
def test_a_name_that_is_not_utf_8(quantized_file: Path, tmp_path: Path):
    file = tmp_path / os.fsdecode(b"caf\xe9.gguf")
    file.symlink_to(quantized_file)
    LlamaCppPolicy.from_pretrained(file, tokenizer=resolve(DEFAULT_MODEL)).close()


@pytest.mark.parametrize("fault", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_cache_that_can_not_be_written(quantized_file: Path, tmp_path: Path, monkeypatch, caplog, fault):
    def refuse(*given: object) -> None:
        raise OSError(fault, "refused")

    monkeypatch.setenv("ICDPO_CACHE", str(tmp_path))
    monkeypatch.setattr(gguf_cache, "_make", refuse)
    assert gguf_cache.converted_tokenizer(quantized_file) is None
    assert "set ICDPO_CACHE to a writable directory" in caplog.text
    monkeypatch.setenv("ICDPO_CACHE", str(quantized_file))
    assert gguf_cache.converted_tokenizer(quantized_file) is None


# Options.


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"n_threads": 0}, "n_threads is 0, and must be from 1"),
        ({"prefix_cache": 1.5}, "prefix_cache must be a whole number, not 1.5"),
        ({"prefix_cache": 65}, "prefix_cache is 65, and must be from 0 to 64"),
        ({"n_gpu_layers": -7}, "n_gpu_layers is -7, and must be from -1"),
        ({"n_gpu_layers": "all"}, "n_gpu_layers must be a whole number, not 'all'"),
        ({"repack": "no"}, "repack must be True, False or None, not 'no'"),
        ({"flash_attn": "yes"}, "flash_attn is 'yes': give True, False or None"),
        ({"type_k": []}, r"type_k=\[\] is unknown: use one of 'f32'"),
        ({"type_v": "q8_0", "flash_attn": False}, "needs flash attention.*leave flash_attn out"),
        ({"tokenizer": 42}, "tokenizer is a int.*give a Hugging Face tokenizer, or its name"),
    ],
)
def test_a_wrong_option(option, said):
    with pytest.raises((TypeError, ValueError), match=said):
        LlamaCppPolicy.from_pretrained(**option)


# Memory.


def test_a_closed_policy_says_so(own: LlamaCppPolicy, context):
    own.sample(context, 2, SAMPLING)
    own.close()
    own.close()
    for use in (
        lambda: own.sample(context, 2, SAMPLING),
        lambda: own.logprobs(context, [context[:3]]),
        lambda: own.model.tokenize("text"),
    ):
        with pytest.raises(PolicyError, match="is closed: load it again"):
            use()


def test_a_policy_is_closed_while_others_use_it(own: LlamaCppPolicy, context):
    def ask(seed: int) -> int | str:
        try:
            return len(own.sample(context, 2, SamplingParams(max_new_tokens=16, seed=seed)))
        except PolicyError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, seed) for seed in range(64)]
        answers[0].result()
        own.close()
    assert all(answer.result() == 2 or "is closed" in str(answer.result()) for answer in answers)


def test_without_memory_the_next_question_is_answered(own: LlamaCppPolicy, context, monkeypatch):
    own.sample(context, 2, SAMPLING)
    with monkeypatch.context() as patched:
        patched.setattr(own._engine._cells._library, "llama_init_from_model", lambda model, params: None)
        with pytest.raises(PolicyMemoryError, match=r"can't make room.*fewer candidates"):
            own.sample(context, 64, SamplingParams(max_new_tokens=64))
        with pytest.raises(PolicyMemoryError):
            own.sample(context, 2, SAMPLING)
    assert own.sample(context, 2, SAMPLING)
    own.close()


def freed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    library, calls = model_module.llama_cpp_library(), []
    for name in ("llama_free", "llama_model_free"):
        original = getattr(library, name)
        monkeypatch.setattr(
            library, name, lambda pointer, name=name, free=original: (calls.append(name), free(pointer))
        )
    return calls


def test_the_memory_of_a_policy_without_references_is_freed(monkeypatch: pytest.MonkeyPatch, context):
    calls = freed(monkeypatch)
    policy = LlamaCppPolicy.from_pretrained(n_threads=2)
    policy.sample(context, 1, SAMPLING)
    gone = weakref.ref(policy)
    del policy
    gc.collect()
    assert gone() is None
    assert calls == ["llama_free", "llama_model_free"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_leaves_the_memory_alone(own: LlamaCppPolicy, context, monkeypatch):
    own.sample(context, 1, SAMPLING)
    calls = freed(monkeypatch)
    held = threading.Event()

    def hold() -> None:
        with own._lock:
            held.set()
            time.sleep(1)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = multiprocessing.get_context("fork").Process(target=own.close)
    child.start()  # the lock is held for ever in the child
    child.join(20)
    assert child.exitcode == 0
    thread.join()
    assert calls == []
    assert own.sample(context, 1, SAMPLING)
    own.close()


# The load, in several threads.


def test_two_threads_load_at_once(context):
    with ThreadPoolExecutor(2) as pool:
        loads = [pool.submit(LlamaCppPolicy.from_pretrained, n_threads=1) for _ in range(2)]
        one, two = [load.result(60) for load in loads]
    assert one.sample(context, 1, SAMPLING)[0].token_ids == two.sample(context, 1, SAMPLING)[0].token_ids
    one.close()
    two.close()


@pytest.mark.parametrize("broken", [False, True])
def test_ctrl_c_during_the_load(monkeypatch: pytest.MonkeyPatch, broken: bool):
    calls = freed(monkeypatch)
    load = model_module.GGUFModel

    def slow(*given: object) -> object:
        time.sleep(0.5)
        if broken:
            raise PolicyError("a broken file")
        return load(*given)

    def interrupt(*given: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)

    monkeypatch.setattr(model_module, "GGUFModel", slow)
    monkeypatch.setattr("icdpo_chains.policies.llama_cpp.tokenizer.load_tokenizer", interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        LlamaCppPolicy.from_pretrained()
    del caught
    gc.collect()
    assert calls == ([] if broken else ["llama_model_free"])


def test_a_missing_file_is_told_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(model_module, "GGUFModel", lambda *given: pytest.fail("loaded"))
    with pytest.raises(PolicyError, match="there is no"):
        LlamaCppPolicy.from_pretrained("none.gguf")
