"""`LlamaCppPolicy`: a GGUF file in llama.cpp; its weights stay quantized."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from icdpo_chains.errors import PolicyError
from icdpo_chains.foundation.concurrency import LOADING, Owner, check_cancelled
from icdpo_chains.foundation.garbage_collection import paused_garbage_collection
from icdpo_chains.foundation.process_local import ProcessLocal
from icdpo_chains.foundation.validation import check_count, check_method
from icdpo_chains.policies.micro_batches import MicroBatches
from icdpo_chains.policies.policy import check_fits
from icdpo_chains.policies.sampling import (
    MAX_CANDIDATES,
    Sample,
    SampleRequest,
    SamplingParams,
)

__all__ = ["LlamaCppPolicy"]

_MAX_ROWS = 64
_DEFAULT_CONTEXT = 32_768


class LlamaCppPolicy(ProcessLocal):
    """A language model in a GGUF file. Thread-safe: waiting requests are sampled together.

    The weights stay quantized: with four bits per weight, they take a quarter of the memory of bfloat16.
    llama.cpp runs on CPUs, on Apple's GPUs (Metal) and on others (CUDA, Vulkan), depending on the build of
    llama-cpp-python.

    Args:
        model: the loaded file.
        tokenizer: its Hugging Face tokenizer.
        name: the name in results; by default the name of the file.
        n_ctx: the maximum number of tokens of context and answer together; by default the model's training
            context, up to 32,768. Memory is allocated for the actual tokens, not for this number.
        n_batch: the number of tokens per computation.
        n_threads: the number of processor threads; by default that of torch.
        flash_attn: compute attention in one kernel; by default llama.cpp decides.
        type_k: the type of the cached keys: `"f16"`, `"f32"`, `"bf16"`, `"q8_0"` or `"q4_0"`.
        type_v: the type of the cached values; quantized ones need `flash_attn`.
        max_rows: the maximum number of candidates to decode together; the others wait.
        prefix_cache: the number of contexts to keep for later contexts with the same beginning; 0 keeps none.
        max_waiting: the maximum number of requests of other threads that may wait; further requests raise
            `QueueFullError`.

    Raises:
        TokenizerMismatch: the tokenizer reads text differently from llama.cpp.
        ValueError: an option is out of range.
    """

    closes_thoughts = True
    """Whether the policy carries out `max_thinking_tokens`."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        name: str | None = None,
        *,
        n_ctx: int | None = None,
        n_batch: int = 512,
        n_threads: int | None = None,
        flash_attn: bool | None = None,
        type_k: str = "f16",
        type_v: str = "f16",
        max_rows: int = _MAX_ROWS,
        prefix_cache: int = 4,
        max_waiting: int = 1024,
    ) -> None:
        import torch

        from icdpo_chains.policies.llama_cpp.cells import MAX_SEQUENCES, CellsOptions
        from icdpo_chains.policies.llama_cpp.engine import LlamaEngine
        from icdpo_chains.policies.tokenizer_check import check_same_tokens

        options = CellsOptions(
            n_batch=check_count(n_batch, "n_batch", 65_536),
            n_threads=check_count(
                torch.get_num_threads() if n_threads is None else n_threads, "n_threads", 1024
            ),
            flash_attn=flash_attn,
            type_k=type_k,
            type_v=type_v,
        )
        check_count(prefix_cache, "prefix_cache", MAX_SEQUENCES // 4, 0)
        longest = min(model.n_ctx_train, _DEFAULT_CONTEXT)
        self.model = model
        self.tokenizer = tokenizer
        self.name = name or model.path.stem
        self.max_context: int | None = longest if n_ctx is None else check_count(n_ctx, "n_ctx", 2**24)
        self.max_rows = check_count(max_rows, "max_rows", MAX_SEQUENCES // 4)
        self.eos_token_ids = model.eog_token_ids | ({tokenizer.eos_token_id} - {None})
        check_same_tokens(
            tokenizer,
            # llama.cpp does not apply the tokenizer's normalization (such as Unicode NFC): it receives ids.
            lambda texts: [model.tokenize(_normalized(tokenizer, text)) for text in texts],
            str(model.path),
            "Give the model's own tokenizer (a hub name or a directory) as tokenizer",
        )
        self._lock = threading.RLock()
        self._owner = Owner()
        self._engine = LlamaEngine(model, options, prefix_cache)
        self._batches = MicroBatches(
            self._sample_together,
            self.max_rows,
            self._lock,
            check_count(max_waiting, "max_waiting", 10_000_000),
        )

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path | None = None,
        *,
        gguf_file: str | None = None,
        revision: str | None = None,
        token: str | None = None,
        tokenizer: Any = None,
        n_gpu_layers: int = -1,
        repack: bool | None = None,
        **options: Any,
    ) -> LlamaCppPolicy:
        """Loads a GGUF file.

        Args:
            name_or_path: a `.gguf` file, a directory or hub name that contains one (`org/model-GGUF:Q4_K_M`
                names the quantization too), `ollama:NAME`, or the name of a packaged model; the default is
                `ICDPO_MODEL`, or else `smollm2-135m-instruct`.
            gguf_file: the file's name in a directory or hub repository, or a pattern for it, such as
                `"*q4_k_m.gguf"`; not needed if there is only one file.
            revision: the branch, tag or commit on the hub.
            token: the hub's access token.
            tokenizer: the model's tokenizer, or its hub name or directory; by default it is built from the
                file.
            n_gpu_layers: the number of layers on the GPU; -1 for all.
            repack: let llama.cpp repack the weights for the processor, which is faster. The default is true,
                except on processors with Intel's AMX, where some builds of llama.cpp crash.
            **options: the options of the constructor.

        Raises:
            PolicyError: the file can't be found or loaded, or llama-cpp-python is not installed.
            TokenizerMismatch: its tokenizer can't be rebuilt exactly.
            WeightsError: a packaged model can't be fetched.
        """
        from icdpo_chains.packaged_models import catalog
        from icdpo_chains.packaged_models.gguf_cache import cached_tokenizer
        from icdpo_chains.policies.llama_cpp.files import find_gguf
        from icdpo_chains.policies.llama_cpp.model import GGUFModel, llama_cpp_library
        from icdpo_chains.policies.llama_cpp.tokenizer import load_tokenizer

        llama_cpp_library()  # before anything is downloaded
        check_count(n_gpu_layers, "n_gpu_layers", 1_000_000, -1)
        if repack not in (None, True, False):
            raise TypeError(f"repack must be True, False or None, not {repack!r}")
        given = not (tokenizer is None or isinstance(tokenizer, (str, os.PathLike)))
        if given:
            check_method(
                tokenizer, "tokenizer", "apply_chat_template", "a Hugging Face tokenizer, or its name"
            )
        name = str(name_or_path or catalog.default_model())
        packaged = name.lower() in catalog.PACKAGED_MODELS

        def find_tokenizer() -> Any:
            if tokenizer is not None:
                return tokenizer
            return catalog.resolve(name) if packaged else cached_tokenizer(find_file())

        @functools.cache
        def find_file() -> Path:
            return find_gguf(name, gguf_file, revision=revision, token=token)

        with LOADING, paused_garbage_collection():
            # Downloads and conversions come first, in this thread: Ctrl-C ends them, and two threads must not
            # import transformers or huggingface_hub at the same time.
            if not (packaged and catalog.is_cached(name, gguf=True)):
                find_file()
            if packaged and tokenizer is None and not catalog.is_cached(name):
                catalog.resolve(name)
            # The hashes of the cached files are compared, and the model is loaded, during the import of torch
            # and transformers, which takes two to three seconds.
            with ThreadPoolExecutor(2) as aside:
                loading = aside.submit(lambda: GGUFModel(find_file(), n_gpu_layers, repack))
                checking = aside.submit(find_tokenizer)
                try:
                    import torch  # noqa: F401
                    from transformers import PreTrainedTokenizerFast  # noqa: F401

                    import icdpo_chains.policies.llama_cpp.engine  # noqa: F401

                    found = checking.result()
                    own = found if given else load_tokenizer(found, find_file())
                except Exception:
                    loading.result().close()  # the fault of a broken file comes before that of its tokenizer
                    raise
            model = loading.result()
        try:
            if not given and own.chat_template is None:
                own.chat_template = model.chat_template
            return cls(model, own, **{"name": name, **options})
        except BaseException:
            model.close()
            raise

    @classmethod
    def from_ollama(cls, name: str, **options: Any) -> LlamaCppPolicy:
        """Loads the file of a model that Ollama has downloaded; Ollama need not run.

        Args:
            name: the model's name in Ollama, such as `"qwen2.5:7b"`.
            **options: the options of `from_pretrained`.

        Raises:
            PolicyError: Ollama has no such model (the message lists the models that it has), or the file
                can't be loaded.
        """
        return cls.from_pretrained(f"ollama:{name}", **options)

    def sample(self, context: Sequence[int], n: int, sampling: SamplingParams) -> list[Sample]:
        """Samples n continuations; reads the context once. See `Policy.sample`."""
        return self.sample_batch([SampleRequest(context, n, sampling)])[0]

    def sample_batch(self, requests: Sequence[SampleRequest]) -> list[list[Sample]]:
        """Samples for several contexts, as many together as `max_rows` allows; equal to one `sample` each.

        Args:
            requests: the contexts, and the continuations to sample for each.

        Raises:
            ValueError: see `Policy.sample`. Nothing is sampled then.
        """
        self._owner.check(f"the model {self.name}", PolicyError)
        for request in requests:
            check_count(request.n, "n", MAX_CANDIDATES)
            check_fits(self, request.context, request.sampling.max_new_tokens)
            if request.finalists is not None:
                check_count(request.finalists, "finalists", MAX_CANDIDATES)
            if request.finalists is not None or request.sampling.guided:
                check_count(request.n, "n, with decoding='guided' or finalists,", MAX_CANDIDATES // 2)
                check_fits(self, request.contrast, request.sampling.max_new_tokens)
        return self._batches.sample(requests)

    @property
    def on_batch(self) -> Callable[[int, int], None] | None:
        """Called with the numbers of requests and of candidates before each batch; see `MicroBatches`."""
        return self._batches.on_batch

    @on_batch.setter
    def on_batch(self, call: Callable[[int, int], None] | None) -> None:
        self._batches.on_batch = call

    def logprobs(self, context: Sequence[int], continuations: Sequence[Sequence[int]]) -> list[list[float]]:
        """Scores continuations as a batch; reads the context once. See `Policy.logprobs`."""
        self._owner.check(f"the model {self.name}", PolicyError)
        check_fits(self, context, max(map(len, continuations), default=0))
        with self._lock:
            check_cancelled()  # the wait for the lock may have been long
            return self._engine.logprobs(context, continuations)

    def close(self) -> None:
        """Frees the model's memory; the policy can't be used afterwards. Does nothing in a forked process."""
        if self._owner.is_elsewhere:
            return
        with self._lock:
            self._engine.close()
            self.model.close()

    def _sample_together(self, requests: Sequence[SampleRequest]) -> list[list[Sample]]:
        return self._engine.sample(requests, self.eos_token_ids, self.tokenizer)


def _normalized(tokenizer: Any, text: str) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    normalizer = None if backend is None else backend.normalizer
    return text if normalizer is None else str(normalizer.normalize_str(text))
