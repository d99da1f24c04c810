"""Payloads of LangSmith's rules, and Langfuse's traces with scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains import Demonstration, DemonstrationStore, FakeEmbedder
from icdpo_chains.errors import ICDPOError, InvalidInputError
from langchain_icdpo import record_webhook

QUESTION = "How long do I boil an egg?"


def run(id_: str, answer: str, score: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "inputs": {"messages": [{"role": "user", "content": QUESTION}]},
        "outputs": {"output": answer},
        "feedback_stats": {"user_score": {"n": 1, "avg": score, "values": {}}},
        **more,
    }


def payload(*runs: Any, **more: Any) -> Any:
    return {"rule_id": "r", "start_time": "2026-01-01T00:00:00", "runs": list(runs), **more}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    DemonstrationStore(tmp_path / "store", embedder=FakeEmbedder()).close()
    return tmp_path / "store"


@pytest.fixture
def store(path: Path) -> Any:
    with DemonstrationStore(path, embedder=FakeEmbedder()) as store:
        yield store


def test_what_a_rule_of_langsmith_posts(store: DemonstrationStore) -> None:
    sent = payload(run("a", "Six minutes.", 1.0), run("b", "Until done.", 0.0), run("c", "Maybe.", 0.5))
    for _ in range(2):  # a webhook may be sent again
        recorded = record_webhook(store, json.loads(json.dumps(sent)), metadata={"project": "eggs"})
        assert [item.id for item in store] == [Demonstration(QUESTION, "Six minutes.", "Until done.").id]
    assert recorded[-1].metadata == {
        "source": "feedback",
        "run_id": "a",
        "key": "user_score",
        "project": "eggs",
        "thumb": "up",
        "rejected_metadata": {
            "source": "feedback",
            "run_id": "b",
            "key": "user_score",
            "project": "eggs",
            "thumb": "down",
        },
    }


def test_statistics_beside_a_single_run_and_a_run_alone(store: DemonstrationStore) -> None:
    beside = run("a", "Six minutes.", 1)
    stats = beside.pop("feedback_stats")
    assert record_webhook(store, payload(beside, feedback_stats=stats))[0].chosen == "Six minutes."
    assert record_webhook(store, run("b", "Boil it.", False))[0].rejected == "Boil it."
    assert record_webhook(store, payload(beside)) == []
    assert record_webhook(store, payload()) == []


def test_a_trace_of_langfuse(store: DemonstrationStore) -> None:
    trace = {
        "id": "t1",
        "input": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}],
        "output": {"role": "assistant", "content": "Six minutes."},
        "scores": [
            {"id": "s1", "name": "thumb", "value": 1, "dataType": "BOOLEAN", "comment": "fine"},
            {"id": "s2", "name": "thumb", "value": 0, "dataType": "BOOLEAN"},
            {"id": "s3", "name": "thumb", "value": 1, "dataType": "BOOLEAN"},
            {"id": "s4", "name": "length", "value": 12, "dataType": "NUMERIC"},
            {"id": "s5", "name": "tone", "value": None, "stringValue": "warm", "dataType": "CATEGORICAL"},
        ],
    }
    with pytest.raises(InvalidInputError, match=r"choose one of \['length', 'thumb'\] by key="):
        record_webhook(store, trace)
    assert list(store) == []
    recorded = record_webhook(store, trace, key="thumb")
    (item,) = store
    assert recorded[-1] == item
    assert (item.chosen, [message.role for message in item.messages]) == ("Six minutes.", ["system", "user"])
    assert [(vote["thumb"], vote["score_id"]) for vote in item.metadata["thumbs"]] == [
        ("up", "s1"),
        ("down", "s2"),
        ("up", "s3"),
    ]
    plain = {"id": "t2", "input": QUESTION, "output": "Who knows.", "scores": [{"name": "thumb", "value": 0}]}
    assert record_webhook(store, plain)[0].rejected == "Who knows."


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        ({}, "it needs LangSmith's 'runs'"),
        ([], "must be a JSON object"),
        (payload("x"), "a run is a str"),
        (payload(run("a", "Fine.", 1), run("b", " ", 1)), "blank"),
        (payload(run("a", "Fine.", 1), run("b", "x", 1, inputs={"x": 1})), "x has no question"),
        (payload(run("a", "Fine.", 1), run("b", "x", 1, outputs=None)), "no answer"),
    ],
    ids=str,
)
def test_what_can_not_be_used_leaves_nothing_behind(store: DemonstrationStore, sent: Any, says: str) -> None:
    with pytest.raises(ICDPOError, match=says):
        record_webhook(store, sent)
    assert list(store) == []


def test_scores_that_are_no_numbers_are_left_out(store: DemonstrationStore) -> None:
    sent = payload(
        run("a", "x", None),
        run("b", "y", "lengthy"),
        run("c", "z", float("nan")),
        run("d", "v", 1, feedback_stats=3),
    )
    assert record_webhook(store, sent) == []


def test_a_store_that_is_read_is_opened_for_writing_meanwhile(path: Path) -> None:
    with DemonstrationStore(path, embedder=FakeEmbedder(), read_only=True) as store:
        assert len(record_webhook(store, payload(run("a", "Six minutes.", 1)))) == 1
        assert len(store) == 1


def test_words_are_thumbs(store: DemonstrationStore) -> None:
    stats = {"user": {"n": 1, "avg": None, "values": {"thumbs_up": 1}}}
    assert record_webhook(store, run("a", "Six minutes.", None, feedback_stats=stats))[0].chosen
    scores = [{"name": "user", "value": None, "stringValue": "bad", "dataType": "CATEGORICAL"}]
    trace = {"id": "t", "input": QUESTION, "output": "Until done.", "scores": scores}
    assert record_webhook(store, trace)[0].rejected == "Until done."


def test_scores_of_another_scale_need_a_threshold(store: DemonstrationStore) -> None:
    """Two of five stars were a thumb up once."""
    sent = payload(run("a", "Six minutes.", 5), run("b", "Until done.", 2))
    with pytest.raises(InvalidInputError, match=r"the score 5 of 'user_score' is no thumb.*threshold="):
        record_webhook(store, sent)
    assert list(store) == []
    record_webhook(store, sent, threshold=4)
    assert [(item.chosen, item.rejected) for item in store] == [("Six minutes.", "Until done.")]
