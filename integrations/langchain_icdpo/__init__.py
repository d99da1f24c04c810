"""icdpo-chains for LangChain: ICDPO as a chat model, a retriever, a reranker, a chain, a middleware, a tool.

    from langchain_icdpo import ChatICDPO
    print(ChatICDPO(n=4).invoke("How do I apologise to a friend?").text)

Needs only `langchain-core`; `ICDPOMiddleware` also needs `langchain`. Importing the package loads no model
library: each name is imported at its first use, and the first answer loads the default model.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_icdpo.chain import create_icdpo_chain
    from langchain_icdpo.chat_model.model import ChatICDPO
    from langchain_icdpo.example_selector import DemonstrationSelector
    from langchain_icdpo.feedback import arecord_feedback, record_feedback
    from langchain_icdpo.middleware import ICDPOMiddleware
    from langchain_icdpo.reranker import InstantReranker, InstantScoreCompressor, RankedCandidate
    from langchain_icdpo.retriever import DemonstrationRetriever
    from langchain_icdpo.tool import create_icdpo_tool
    from langchain_icdpo.webhooks import record_webhook

_MODULE_OF = {
    "ChatICDPO": "langchain_icdpo.chat_model.model",
    "DemonstrationRetriever": "langchain_icdpo.retriever",
    "DemonstrationSelector": "langchain_icdpo.example_selector",
    "ICDPOMiddleware": "langchain_icdpo.middleware",
    "InstantReranker": "langchain_icdpo.reranker",
    "InstantScoreCompressor": "langchain_icdpo.reranker",
    "RankedCandidate": "langchain_icdpo.reranker",
    "arecord_feedback": "langchain_icdpo.feedback",
    "create_icdpo_chain": "langchain_icdpo.chain",
    "create_icdpo_tool": "langchain_icdpo.tool",
    "record_feedback": "langchain_icdpo.feedback",
    "record_webhook": "langchain_icdpo.webhooks",
}

__all__ = [
    "ChatICDPO",
    "DemonstrationRetriever",
    "DemonstrationSelector",
    "ICDPOMiddleware",
    "InstantReranker",
    "InstantScoreCompressor",
    "RankedCandidate",
    "arecord_feedback",
    "create_icdpo_chain",
    "create_icdpo_tool",
    "record_feedback",
    "record_webhook",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
