"""A model that Hugging Face transformers runs in this process."""

from __future__ import annotations

from icdpo_chains.policies.transformers.policy import TransformersPolicy

__all__ = ["TransformersPolicy"]
