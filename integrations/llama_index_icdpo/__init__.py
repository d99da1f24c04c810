"""icdpo-chains for LlamaIndex: ICDPO as an LLM, a retriever, a reranker, a synthesizer, a workflow, a tool.

    from llama_index_icdpo import ICDPOLLM
    print(ICDPOLLM(n=4).complete("How do I apologise to a friend?"))

Needs only `llama-index-core`. Importing the package loads no model library: each name is imported at its
first use, and the first answer loads the default model.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llama_index_icdpo.embedding import ICDPOEmbedding
    from llama_index_icdpo.llm import ICDPOLLM
    from llama_index_icdpo.reranker import InstantScoreRerank
    from llama_index_icdpo.retriever import DemonstrationRetriever
    from llama_index_icdpo.synthesizer import ICDPOSynthesizer
    from llama_index_icdpo.tool import create_icdpo_tool
    from llama_index_icdpo.vector_store import from_vector_store, to_vector_store
    from llama_index_icdpo.workflow import ICDPOWorkflow, Retrieved, Sampled, Scored

_MODULE_OF = {
    "DemonstrationRetriever": "llama_index_icdpo.retriever",
    "ICDPOEmbedding": "llama_index_icdpo.embedding",
    "ICDPOLLM": "llama_index_icdpo.llm",
    "ICDPOSynthesizer": "llama_index_icdpo.synthesizer",
    "ICDPOWorkflow": "llama_index_icdpo.workflow",
    "InstantScoreRerank": "llama_index_icdpo.reranker",
    "Retrieved": "llama_index_icdpo.workflow",
    "Sampled": "llama_index_icdpo.workflow",
    "Scored": "llama_index_icdpo.workflow",
    "create_icdpo_tool": "llama_index_icdpo.tool",
    "from_vector_store": "llama_index_icdpo.vector_store",
    "to_vector_store": "llama_index_icdpo.vector_store",
}

__all__ = [
    "ICDPOLLM",
    "DemonstrationRetriever",
    "ICDPOEmbedding",
    "ICDPOSynthesizer",
    "ICDPOWorkflow",
    "InstantScoreRerank",
    "Retrieved",
    "Sampled",
    "Scored",
    "create_icdpo_tool",
    "from_vector_store",
    "to_vector_store",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
