"""Demonstrations as documents, and back."""

from __future__ import annotations

import json

import pytest
from langchain_core.documents import Document

from icdpo_chains import Demonstration, Message, RetrievedDemonstration
from icdpo_chains.errors import DemonstrationError
from langchain_icdpo.documents import to_document, to_retrieved


@pytest.mark.parametrize(
    "demonstration",
    [
        Demonstration("q {x}\0", "good", "bad", {"topic": "é", "chosen": "a user's own name", "n": 1}),
        Demonstration([Message("system", "s"), Message("user", "a")], "good"),
        Demonstration([Message("user", "a"), Message("assistant", "b"), Message("user", "c")], "good", "bad"),
    ],
    ids=["string", "system", "turns"],
)
def test_there_and_back(demonstration: Demonstration) -> None:
    found = RetrievedDemonstration(demonstration, 1.5, 0.25)
    document = to_document(found)
    assert document.id == demonstration.id
    assert document.page_content == demonstration.prompt_text
    assert document.metadata["chosen"] == demonstration.chosen
    assert document.metadata["rejected"] == demonstration.rejected
    assert (document.metadata["bm25_score"], document.metadata["similarity"]) == (1.5, 0.25)
    assert json.loads(json.dumps(document.metadata)) == document.metadata
    back = to_retrieved(document)
    assert back == found
    assert back.demonstration.metadata == demonstration.metadata
    assert Demonstration.from_dict(document.metadata) == demonstration


def test_documents_of_another_vector_store_will_do() -> None:
    document = Document("What now?", metadata={"chosen": "This.", "rejected": "That.", "page": 3})
    assert to_retrieved(document).demonstration == Demonstration("What now?", "This.", "That.")


def test_a_document_without_an_answer_is_none() -> None:
    with pytest.raises(DemonstrationError, match=r"'What now\?' is not a demonstration.*'chosen'"):
        to_retrieved(Document("What now?"))
