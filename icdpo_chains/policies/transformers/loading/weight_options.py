"""`WeightOptions`: where and how a model's weights are held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from icdpo_chains.errors import PolicyError

if TYPE_CHECKING:
    import torch

__all__ = ["Quantization", "WeightOptions", "is_quantized"]

Quantization = Literal["4bit", "8bit"]


@dataclass(frozen=True)
class WeightOptions:
    """Where and how a model's weights are held; see `TransformersPolicy.from_pretrained`."""

    dtype: str | torch.dtype | None = None
    device: str | torch.device | None = None
    device_map: str | Mapping[str, Any] | None = None
    max_memory: Mapping[int | str, int | str] | None = None
    quantization: Quantization | None = None
    attn_implementation: str | None = None
    adapter: str | Path | None = None

    def check(self) -> None:
        """Checks that the options go together.

        Raises:
            PolicyError: an option is unknown, or two options exclude each other.
        """
        if self.device is not None and self.device_map is not None:
            raise PolicyError(
                f"device={str(self.device)!r} and device_map={self.device_map!r} exclude each other: leave "
                "one of them out"
            )
        if self.max_memory is not None and self.device_map is None:
            raise PolicyError("max_memory needs a device_map: give device_map='auto' too")
        if self.quantization not in (None, "4bit", "8bit"):
            raise PolicyError(f"quantization={self.quantization!r} is unknown: use '4bit' or '8bit'")
        if self.quantization is not None and find_spec("bitsandbytes") is None:
            raise PolicyError(
                f"quantization={self.quantization!r} needs bitsandbytes: pip install "
                '"icdpo-chains[quantization]"'
            )

    def options(
        self, device: torch.device, dtype: torch.dtype, name: str, *, gguf: bool, quantized: bool
    ) -> dict[str, Any]:
        """Returns the options of transformers' `from_pretrained`.

        Args:
            device: the device to use without a device map.
            dtype: the type of the weights that are not quantized.
            name: the model's name, for errors.
            gguf: whether the weights are in a GGUF file, which is unpacked.
            quantized: whether the checkpoint is quantized already.

        Raises:
            PolicyError: the weights are quantized already, or in a GGUF file.
        """
        if self.quantization is not None and (gguf or quantized):
            held = "a GGUF file is unpacked to its dtype" if gguf else "its weights are quantized already"
            raise PolicyError(
                f"the model {name!r} can't be quantized to {self.quantization}: {held}. Leave quantization "
                "out" + (", or use engine='llama.cpp'" if gguf else "")
            )
        options: dict[str, Any] = {"dtype": "auto" if quantized and self.dtype is None else dtype}
        if self.attn_implementation is not None:
            options["attn_implementation"] = self.attn_implementation
        if self.device_map is not None:
            placed = self.device_map
            options["device_map"] = placed if isinstance(placed, str) else dict(placed)
            if self.max_memory is not None:
                options["max_memory"] = {
                    int(key) if str(key).isdecimal() else key: size for key, size in self.max_memory.items()
                }
        elif quantized or self.quantization is not None:
            options["device_map"] = {"": device}  # quantized weights can't be moved
        if self.quantization is not None:
            options["quantization_config"] = _bitsandbytes(self.quantization, dtype)
        return options


def is_quantized(source: str, options: Mapping[str, Any]) -> bool:
    """Whether a checkpoint's configuration names a quantization, such as GPTQ, AWQ, FP8 or MXFP4.

    Args:
        source: a directory or hub name.
        options: the options of `from_pretrained`.

    Raises:
        OSError, ValueError: the configuration can't be read.
    """
    from transformers import AutoConfig

    return getattr(AutoConfig.from_pretrained(source, **options), "quantization_config", None) is not None


def _bitsandbytes(quantization: Quantization, dtype: torch.dtype) -> Any:
    from transformers import BitsAndBytesConfig

    if quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    # The form of QLoRA (arXiv 2305.14314): normal floats, and their scales quantized too.
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
