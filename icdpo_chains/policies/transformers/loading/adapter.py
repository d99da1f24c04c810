"""`with_adapter`: a model with the weights of a LoRA adapter."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from icdpo_chains.errors import PolicyError
from icdpo_chains.foundation.hub_errors import hub_problem

__all__ = ["with_adapter"]

_WEIGHTS = "adapter_model.safetensors"


def with_adapter(model: Any, adapter: str, *, merged: bool, token: str | None = None) -> Any:
    """Returns a model with an adapter of peft. Only safetensors weights are read.

    Args:
        model: the model that the adapter was trained on; it is changed.
        adapter: a directory or hub name.
        merged: add the adapter to the weights, which is as fast as the model alone. Quantized and distributed
            weights can't be changed.
        token: the hub's access token.

    Raises:
        PolicyError: the adapter can't be found or loaded, or does not fit the model.
    """
    if find_spec("peft") is None:
        raise PolicyError(f'the adapter {adapter!r} needs peft: pip install "icdpo-chains[eval]"')
    from peft import PeftModel

    try:
        tuned = PeftModel.from_pretrained(model, str(_directory(adapter, token)))
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        reason = hub_problem(error) or (
            f"{str(error).rstrip('.'):.300}. Give the directory or hub name of a peft adapter for this "
            "model, with safetensors weights"
        )
        raise PolicyError(f"the adapter {adapter!r} can't be loaded: {reason}") from error
    return tuned.merge_and_unload() if merged else tuned.get_base_model()


def _directory(adapter: str, token: str | None) -> Path:
    """Returns the adapter's directory with safetensors weights: peft itself would also read a pickle."""
    path = Path(adapter).expanduser()
    if not path.is_dir():
        from huggingface_hub import snapshot_download

        path = Path(snapshot_download(adapter, allow_patterns=["adapter_config.json", _WEIGHTS], token=token))
    if not (path / _WEIGHTS).is_file():
        raise ValueError(f"there is no {_WEIGHTS}")
    return path
