"""`LlamaCppPolicy`: a GGUF file in llama.cpp, quantized as it is."""

from __future__ import annotations

from icdpo_chains.policies.llama_cpp.policy import LlamaCppPolicy

__all__ = ["LlamaCppPolicy"]
