"""The settings of `ChatICDPO` that a call may change, under LangChain's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from icdpo_chains.policies.sampling import SamplingParams

__all__ = ["CALL_SETTINGS", "SAMPLING_NAMES", "resolved"]

SAMPLING_NAMES = {
    "max_tokens": "max_new_tokens",
    "min_tokens": "min_new_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "repetition_penalty": "repetition_penalty",
    "stop": "stop",
    "seed": "seed",
}
"""LangChain's name of each sampling setting, and the core's."""

CALL_SETTINGS = ("n", "k", *SAMPLING_NAMES)


def resolved(sampling: SamplingParams, settings: Mapping[str, Any]) -> SamplingParams:
    """Returns sampling parameters with those settings changed that are not `None`.

    Raises:
        TypeError, ValueError: see `SamplingParams`.
    """
    changes: dict[str, Any] = {
        ours: tuple(settings[name]) if isinstance(settings[name], list) else settings[name]
        for name, ours in SAMPLING_NAMES.items()
        if settings.get(name) is not None
    }
    least = min(sampling.min_new_tokens, changes.get("max_new_tokens", sampling.max_new_tokens))
    return replace(sampling, **{"min_new_tokens": least, **changes})
