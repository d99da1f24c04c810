"""icdpo-chains: better answers from a local language model, at inference time and without training.

In-Context Direct Preference Optimization (ICDPO, arXiv 2402.09320): retrieve demonstrations of good and bad
answers, sample n candidates with the good ones in context, and return the candidate that the demonstrations
made most likely.

    from icdpo_chains import ICDPO
    print(ICDPO.from_defaults().generate("How do I apologise to a friend?").text)

Importing the package loads no model library and downloads nothing: each name is imported at its first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from icdpo_chains.config import ICDPOConfig
    from icdpo_chains.demonstrations.demonstration import Demonstration
    from icdpo_chains.demonstrations.embedding import Embedder, FakeEmbedder, SentenceTransformerEmbedder
    from icdpo_chains.demonstrations.files import RefusedRow, read_demonstrations
    from icdpo_chains.demonstrations.open_store import open_store
    from icdpo_chains.demonstrations.retriever import RetrievedDemonstration, Retriever
    from icdpo_chains.demonstrations.retrievers.fixed import FixedDemonstrations
    from icdpo_chains.demonstrations.retrievers.random import RandomRetriever
    from icdpo_chains.demonstrations.retrievers.threshold import Threshold
    from icdpo_chains.demonstrations.retrievers.two_sided import TwoSidedRetriever
    from icdpo_chains.demonstrations.retrievers.two_stage import TwoStageRetriever
    from icdpo_chains.demonstrations.starter import starter_demonstrations
    from icdpo_chains.demonstrations.store import AddReport, DemonstrationStore
    from icdpo_chains.errors import ICDPOError
    from icdpo_chains.icdpo import ICDPO
    from icdpo_chains.messages import Message
    from icdpo_chains.policies.fake import FakePolicy
    from icdpo_chains.policies.llama_cpp.policy import LlamaCppPolicy
    from icdpo_chains.policies.policy import Policy
    from icdpo_chains.policies.sampling import Sample, SamplingParams
    from icdpo_chains.policies.transformers.policy import TransformersPolicy
    from icdpo_chains.policies.vllm.policy import VLLMPolicy
    from icdpo_chains.progress import Progress
    from icdpo_chains.prompts.contexts import Instructions
    from icdpo_chains.prompts.formats import ChatFormat, PlainFormat, PlainTemplate
    from icdpo_chains.reasoning.tags import ReasoningTags
    from icdpo_chains.result import Candidate, ICDPOResult
    from icdpo_chains.scoring import InstantScorer
    from icdpo_chains.streaming import AnswerChunk
    from icdpo_chains.tool_calls.tool_call import ToolCall

_MODULE_OF = {
    "AddReport": "icdpo_chains.demonstrations.store",
    "AnswerChunk": "icdpo_chains.streaming",
    "Candidate": "icdpo_chains.result",
    "ChatFormat": "icdpo_chains.prompts.formats",
    "Demonstration": "icdpo_chains.demonstrations.demonstration",
    "DemonstrationStore": "icdpo_chains.demonstrations.store",
    "Embedder": "icdpo_chains.demonstrations.embedding",
    "FakeEmbedder": "icdpo_chains.demonstrations.embedding",
    "FakePolicy": "icdpo_chains.policies.fake",
    "FixedDemonstrations": "icdpo_chains.demonstrations.retrievers.fixed",
    "ICDPO": "icdpo_chains.icdpo",
    "ICDPOConfig": "icdpo_chains.config",
    "ICDPOError": "icdpo_chains.errors",
    "ICDPOResult": "icdpo_chains.result",
    "InstantScorer": "icdpo_chains.scoring",
    "Instructions": "icdpo_chains.prompts.contexts",
    "LlamaCppPolicy": "icdpo_chains.policies.llama_cpp.policy",
    "Message": "icdpo_chains.messages",
    "PlainFormat": "icdpo_chains.prompts.formats",
    "PlainTemplate": "icdpo_chains.prompts.formats",
    "Policy": "icdpo_chains.policies.policy",
    "Progress": "icdpo_chains.progress",
    "RandomRetriever": "icdpo_chains.demonstrations.retrievers.random",
    "ReasoningTags": "icdpo_chains.reasoning.tags",
    "RefusedRow": "icdpo_chains.demonstrations.files",
    "RetrievedDemonstration": "icdpo_chains.demonstrations.retriever",
    "Retriever": "icdpo_chains.demonstrations.retriever",
    "Sample": "icdpo_chains.policies.sampling",
    "SamplingParams": "icdpo_chains.policies.sampling",
    "SentenceTransformerEmbedder": "icdpo_chains.demonstrations.embedding",
    "Threshold": "icdpo_chains.demonstrations.retrievers.threshold",
    "ToolCall": "icdpo_chains.tool_calls.tool_call",
    "TwoSidedRetriever": "icdpo_chains.demonstrations.retrievers.two_sided",
    "TransformersPolicy": "icdpo_chains.policies.transformers.policy",
    "TwoStageRetriever": "icdpo_chains.demonstrations.retrievers.two_stage",
    "VLLMPolicy": "icdpo_chains.policies.vllm.policy",
    "open_store": "icdpo_chains.demonstrations.open_store",
    "read_demonstrations": "icdpo_chains.demonstrations.files",
    "starter_demonstrations": "icdpo_chains.demonstrations.starter",
}

__all__ = [
    "ICDPO",
    "AddReport",
    "AnswerChunk",
    "Candidate",
    "ChatFormat",
    "Demonstration",
    "DemonstrationStore",
    "Embedder",
    "FakeEmbedder",
    "FakePolicy",
    "FixedDemonstrations",
    "ICDPOConfig",
    "ICDPOError",
    "ICDPOResult",
    "InstantScorer",
    "Instructions",
    "LlamaCppPolicy",
    "Message",
    "PlainFormat",
    "PlainTemplate",
    "Policy",
    "Progress",
    "RandomRetriever",
    "ReasoningTags",
    "RefusedRow",
    "RetrievedDemonstration",
    "Retriever",
    "Sample",
    "SamplingParams",
    "SentenceTransformerEmbedder",
    "Threshold",
    "ToolCall",
    "TransformersPolicy",
    "TwoSidedRetriever",
    "TwoStageRetriever",
    "VLLMPolicy",
    "__version__",
    "open_store",
    "read_demonstrations",
    "starter_demonstrations",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
