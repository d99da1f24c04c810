"""Demonstrations as nodes, and back."""

from __future__ import annotations

import pytest
from llama_index.core.schema import MetadataMode, TextNode

from icdpo_chains import Demonstration, Message, RetrievedDemonstration
from icdpo_chains.errors import DemonstrationError
from llama_index_icdpo.nodes import to_demonstration, to_node, to_node_with_score

DEMONSTRATIONS = [
    Demonstration("q {x}\0", "good", "bad", {"topic": "é", "deep": {"n": [1]}}),
    Demonstration([Message("system", "s"), Message("user", "a")], "good"),
    Demonstration([Message("user", "a"), Message("assistant", "b"), Message("user", "c")], "good", "bad"),
]


@pytest.mark.parametrize("demonstration", DEMONSTRATIONS, ids=["string", "system", "turns"])
def test_there_and_back(demonstration: Demonstration) -> None:
    node = to_node(demonstration)
    assert node.node_id == demonstration.id
    assert (node.metadata["chosen"], node.metadata["rejected"]) == ("good", demonstration.rejected)
    assert all(isinstance(value, (str, type(None))) for value in node.metadata.values())
    back = to_demonstration(TextNode.from_json(node.to_json()))
    assert back == demonstration
    assert back.metadata == demonstration.metadata


def test_what_is_embedded_and_what_a_model_sees() -> None:
    node = to_node(Demonstration("What now?", "This.", "That."))
    assert node.get_content(MetadataMode.EMBED) == "What now?"
    assert node.get_content(MetadataMode.LLM) == "chosen: This.\n\nWhat now?"


def test_scores_of_both_stages() -> None:
    item = to_node_with_score(RetrievedDemonstration(DEMONSTRATIONS[0], 1.5, 0.25))
    assert item.score == 0.25
    assert (item.node.metadata["bm25_score"], item.node.metadata["similarity"]) == (1.5, 0.25)
    assert to_node_with_score(RetrievedDemonstration(DEMONSTRATIONS[0])).score is None


def test_nodes_of_others() -> None:
    node = TextNode(text="What now?", metadata={"chosen": "This.", "rejected": ""})
    assert to_demonstration(node) == Demonstration("What now?", "This.")
    with pytest.raises(DemonstrationError, match=r"node n1 is not a demonstration.*'chosen'"):
        to_demonstration(TextNode(id_="n1", text="What now?"))
