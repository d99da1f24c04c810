"""From the core's demonstrations to LangChain's documents, and back."""

from __future__ import annotations

from langchain_core.documents import Document

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.retrieval import RetrievedDemonstration
from icdpo_chains.errors import DemonstrationError

__all__ = ["to_document", "to_retrieved"]


def to_document(found: RetrievedDemonstration) -> Document:
    """Returns a demonstration as a document: its prompt as text, all of it in the metadata.

    `Demonstration.from_dict(document.metadata)` gives it back exactly.
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
    """Returns the demonstration that a document holds, whoever made it.

    Args:
        document: has the `chosen` answer, the `rejected` answer or both in its metadata; the prompt is
            `prompt` there, or else the document's text.

    Raises:
        DemonstrationError: it has no answer, or one that can't be used.
    """
    metadata = document.metadata
    if metadata.get("chosen") is None and metadata.get("rejected") is None:
        raise DemonstrationError(
            f"the document {document.page_content!r:.60} is no demonstration: its metadata need the 'chosen' "
            "answer (and 'rejected', for scoring against rejected answers), or 'rejected' alone"
        )
    row = {"prompt": document.page_content, **metadata}
    return RetrievedDemonstration(
        Demonstration.from_dict(row),
        metadata.get("bm25_score"),
        metadata.get("similarity"),
        bool(metadata.get("general")),
        metadata.get("side") or "both",
    )
