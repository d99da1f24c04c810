"""A model on a vLLM server."""

from __future__ import annotations

from icdpo_chains.policies.vllm.policy import VLLMPolicy

__all__ = ["VLLMPolicy"]
