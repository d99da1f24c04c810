"""Converts the core's demonstrations to LangChain's documents, and back."""

from __future__ import annotations

from langchain_core.documents import Document

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.retriever import RetrievedDemonstration
from icdpo_chains.errors import DemonstrationError

__all__ = ["to_document", "to_retrieved"]


def to_document(found: RetrievedDemonstration) -> Document:
    """Returns a demonstration as a document: the prompt is the text, and the metadata contain everything.

    `Demonstration.from_dict(document.metadata)` restores the demonstration exactly.
    """
    demonstration = found.demonstration
    return Document(
        id=demonstration.id,
        page_content=demonstration.prompt_text,
        metadata={
            "chosen": None,
            "rejected": None,
            **demonstration.to_dict(),
            "bm25_score": found.bm25_score,
            "similarity": found.similarity,
            "general": found.general,
            "side": found.side,
        },
    )


def to_retrieved(document: Document) -> RetrievedDemonstration:
    """Returns the demonstration that a document holds.

    Args:
        document: a document with the `chosen` answer, the `rejected` answer or both in its metadata. The
            prompt is `prompt` in the metadata, or else the document's text.

    Raises:
        DemonstrationError: the document has no answer, or an unusable one.
    """
    metadata = document.metadata
    if metadata.get("chosen") is None and metadata.get("rejected") is None:
        raise DemonstrationError(
            f"the document {document.page_content!r:.60} is not a demonstration: its metadata need the "
            "'chosen' answer (and 'rejected', for scoring against rejected answers), or 'rejected' alone"
        )
    row = {"prompt": document.page_content, **metadata}
    return RetrievedDemonstration(
        Demonstration.from_dict(row),
        metadata.get("bm25_score"),
        metadata.get("similarity"),
        bool(metadata.get("general")),
        metadata.get("side") or "both",
    )
