"""Converts the core's demonstrations to LlamaIndex's nodes, and back."""

from __future__ import annotations

import json

from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, TextNode

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.retriever import RetrievedDemonstration
from icdpo_chains.errors import DemonstrationError

__all__ = ["to_demonstration", "to_node", "to_node_with_score"]

_EXACT = "demonstration"


def to_node(demonstration: Demonstration) -> TextNode:
    """Returns a demonstration as a node: the prompt is its text, the answers are in its metadata.

    The metadata are flat, as vector stores require: `chosen`, `rejected`, and `demonstration`, the whole
    demonstration as JSON, which `to_demonstration` reads. The embedding covers only the prompt; an LLM that
    reads the node sees the prompt and the chosen answer.
    """
    hidden = ["rejected", _EXACT, "bm25_score", "similarity", "general", "side"]
    return TextNode(
        id_=demonstration.id,
        text=demonstration.prompt_text,
        metadata={
            "chosen": demonstration.chosen,
            "rejected": demonstration.rejected,
            _EXACT: json.dumps(demonstration.to_dict()),
        },
        excluded_embed_metadata_keys=["chosen", *hidden],
        excluded_llm_metadata_keys=hidden,
    )


def to_node_with_score(found: RetrievedDemonstration) -> NodeWithScore:
    """Returns a retrieved demonstration as a node, with the scores of both stages in its metadata."""
    node = to_node(found.demonstration)
    node.metadata |= {
        "bm25_score": found.bm25_score,
        "similarity": found.similarity,
        "general": found.general,
        "side": found.side,
    }
    return NodeWithScore(node=node, score=found.similarity)


def to_demonstration(node: BaseNode) -> Demonstration:
    """Returns the demonstration that a node holds.

    Args:
        node: a node of `to_node`, or any node with the `chosen` answer, the `rejected` answer or both in its
            metadata; its text is then the prompt.

    Raises:
        DemonstrationError: the node has no answer, or an unusable one.
    """
    if isinstance(exact := node.metadata.get(_EXACT), str):
        return Demonstration.from_dict(json.loads(exact))
    # Chroma stores no None; LlamaIndex writes an empty text in its place.
    chosen, rejected = (node.metadata.get(name) or None for name in ("chosen", "rejected"))
    if chosen is None and rejected is None:
        raise DemonstrationError(
            f"the node {node.node_id} is not a demonstration: its metadata need the 'chosen' answer (and "
            "'rejected', for scoring against rejected answers), or 'rejected' alone"
        )
    prompt = node.get_content(metadata_mode=MetadataMode.NONE)
    return Demonstration(prompt, chosen, rejected)
