"""`LlamaCppPolicy`: a GGUF file in llama.cpp; its weights stay quantized."""

from __future__ import annotations

from icdpo_chains.policies.llama_cpp.policy import LlamaCppPolicy

__all__ = ["LlamaCppPolicy"]
