"""`load_policy`: loads a model by its engine, the library that computes it in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from icdpo_chains.errors import PolicyError

if TYPE_CHECKING:
    from icdpo_chains.policies.policy import Policy

__all__ = ["EngineName", "check_engine", "load_policy"]

EngineName = Literal["transformers", "llama.cpp"]


def check_engine(engine: EngineName, weights: Mapping[str, Any]) -> None:
    """Checks that an engine has these options.

    Args:
        engine: the name of the engine.
        weights: the options of the weights, see `WeightOptions`; `None` for options that are not given.

    Raises:
        ValueError: the engine ignores a given option.
    """
    given = [name for name, value in weights.items() if value is not None]
    if engine == "llama.cpp" and given:
        raise ValueError(
            f"{given[0]} has no meaning for engine={engine!r}, which takes the weights as the GGUF file has "
            "them, on the device that llama-cpp-python was built for: leave it out"
        )


def load_policy(
    engine: EngineName, model: str | None, *, revision: str | None, weights: Mapping[str, Any]
) -> Policy:
    """Loads a model.

    Args:
        engine: the name of the engine.
        model: the name or path of the model; `None` for the default model.
        revision: the model's branch, tag or commit on the hub.
        weights: see `check_engine`.

    Raises:
        PolicyError, WeightsError: see `TransformersPolicy.from_pretrained` and `LlamaCppPolicy`.
    """
    if engine == "llama.cpp":
        from icdpo_chains.policies.llama_cpp.policy import LlamaCppPolicy

        return LlamaCppPolicy.from_pretrained(model, revision=revision)
    from icdpo_chains.policies.transformers.policy import TransformersPolicy

    if model is not None and model.startswith("ollama:"):
        raise PolicyError(
            f"{model!r} is a model of Ollama, which only the engine llama.cpp reads: set engine='llama.cpp'"
        )
    given = {name: value for name, value in weights.items() if value is not None}
    return TransformersPolicy.from_pretrained(model, revision=revision, **given)
