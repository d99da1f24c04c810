"""Loads a model: chooses device and dtype, and reads only files that hold no code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icdpo_chains.errors import PolicyError
from icdpo_chains.foundation.hub_errors import hub_problem
from icdpo_chains.policies.transformers.loading.adapter import with_adapter
from icdpo_chains.policies.transformers.loading.weight_options import WeightOptions, is_quantized

if TYPE_CHECKING:
    import torch

__all__ = ["default_dtype", "device_of", "load", "moved"]


def load(
    name: str, weights: WeightOptions, *, gguf_file: str | None, revision: str | None, token: str | None
) -> tuple[Any, Any]:
    """Returns a model, in evaluation mode, and its tokenizer; see `TransformersPolicy.from_pretrained`.

    Raises:
        PolicyError: the model can't be found or loaded.
        WeightsError: a packaged model can't be fetched.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from icdpo_chains.packaged_models import catalog

    if name.startswith((".", "~", os.sep)) and not Path(name).expanduser().exists():
        raise PolicyError(f"there is no {name!r}: give a model's directory, a GGUF file or a hub name")
    source = catalog.resolve(os.path.expanduser(name))
    if gguf_file is None and source.lower().endswith(".gguf"):
        source, gguf_file = str(Path(source).parent), Path(source).name
    device = device_of(weights.device)
    dtype = _dtype(weights.dtype, device)
    common: dict[str, Any] = {"revision": revision, "token": token, "trust_remote_code": False}
    weights.check()
    try:
        packed = gguf_file is None and is_quantized(source, common)
        options = weights.options(device, dtype, name, gguf=gguf_file is not None, quantized=packed)
        if gguf_file is not None:
            source, common = _gguf(source, gguf_file, dtype, common)
        tokenizer = AutoTokenizer.from_pretrained(source, **common)
        model = AutoModelForCausalLM.from_pretrained(
            source, use_safetensors=True, **options, **_dense_gguf(common), **common
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        reason = hub_problem(error)
        if not reason:
            reason = str(error).rstrip(".")
            # For quantized weights, transformers names the package or the device that they need.
            if not isinstance(error, (ImportError, RuntimeError)):
                reason += ". Give a directory or a hub name that holds safetensors weights or a GGUF file"
        raise PolicyError(f"the model {name!r} can't be loaded: {reason}") from error
    if "device_map" not in options:
        model = moved(model, device, name)
    if weights.adapter is not None:
        model = with_adapter(model, str(weights.adapter), merged="device_map" not in options, token=token)
    return model.eval(), tokenizer


def moved(model: Any, device: torch.device, name: str) -> Any:
    """Returns the model on a device.

    Raises:
        PolicyError: the device is not there or too small.
    """
    try:
        return model.to(device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise PolicyError(
            f"the model {name!r} can't be moved to the device {str(device)!r}: {error}. Use 'cpu', or a "
            "smaller model or dtype"
        ) from error


def device_of(wanted: str | torch.device | None) -> torch.device:
    """Returns the device of this name; by default the first GPU, or the CPU.

    Raises:
        PolicyError: the name is unknown.
    """
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
    return default_dtype(device) if wanted is None else wanted


def default_dtype(device: torch.device) -> torch.dtype:
    """Returns the fastest floating-point type of a device without a significant loss of precision."""
    import torch

    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "mps":
        return torch.bfloat16 if torch.backends.mps.is_macos_or_newer(14, 0) else torch.float32
    return torch.bfloat16 if _cpu_has_bfloat16() else torch.float32


def _cpu_has_bfloat16() -> bool:
    """Whether the CPU has bfloat16 instructions; without them, bfloat16 is slower than float32."""
    import torch

    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_arm_bf16_supported")
    return any(bool(probe()) for probe in (getattr(torch.cpu, name, None) for name in probes) if probe)


def _gguf(
    source: str, gguf_file: str, dtype: torch.dtype, options: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Returns directory and options of the converted model; those of the file if there is no room for it."""
    from transformers.utils import cached_file

    from icdpo_chains.packaged_models.gguf_cache import converted_gguf

    file = cached_file(source, gguf_file, revision=options["revision"], token=options["token"])
    directory = converted_gguf(Path(file), dtype)
    if directory is None:
        return source, {**options, "gguf_file": gguf_file}
    return str(directory), {"trust_remote_code": False}


def _dense_gguf(options: dict[str, Any]) -> dict[str, Any]:
    """Options that unpack GGUF weights: newer versions of transformers keep them packed, which is slow."""
    import transformers

    if "gguf_file" not in options or not hasattr(transformers, "GgufConfig"):
        return {}
    return {"quantization_config": transformers.GgufConfig(dequantize=True)}
