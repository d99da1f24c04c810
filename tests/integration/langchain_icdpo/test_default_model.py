"""What users see with no setting at all, and with a real Chroma on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.documents import Document
from langchain_core.globals import set_llm_cache

from icdpo_chains import ICDPO, DemonstrationStore, InstantScorer, TransformersPolicy
from langchain_icdpo import (
    ChatICDPO,
    InstantReranker,
    create_icdpo_chain,
    record_feedback,
)
from langchain_icdpo.question import to_question

QUESTION = "I had a fight with my sister. What now?"
SHORT: dict[str, Any] = {"n": 2, "max_tokens": 16, "seed": 1}


@pytest.fixture(scope="module")
def core(policy: TransformersPolicy, starter_store: Path) -> ICDPO:
    return ICDPO.from_defaults(policy, store=starter_store)


def test_the_chain_equals_the_chat_model(core: ICDPO) -> None:
    chat = ChatICDPO(icdpo=core, **SHORT)
    value = {"input": QUESTION, "context": [Document("My sister is called Ada.")]}
    answer = create_icdpo_chain(chat).invoke(value)
    expected = chat.invoke(to_question(value))
    for message in (answer, expected):
        assert json.dumps(message.response_metadata)
    scores = [
        [(item["text"], item["score"]) for item in message.response_metadata["icdpo"]["candidates"]]
        for message in (answer, expected)
    ]
    assert [text for text, _ in scores[0]] == [text for text, _ in scores[1]]
    assert [score for _, score in scores[0]] == pytest.approx([score for _, score in scores[1]], abs=1e-4)


@pytest.mark.slow
def test_what_is_cached_needs_no_network(policy: TransformersPolicy, starter_store: Path) -> None:
    """Neither the hub nor the package index is asked for a model that is there already."""
    (starter_store / "starter-set-added").touch()
    code = (
        "import socket\n"
        "def refuse(*args): raise RuntimeError('the network was used')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from langchain_icdpo import ChatICDPO\n"
        "print(bool(ChatICDPO(n=1, max_tokens=4).invoke('Hello').text))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "ICDPO_STORE": str(starter_store), "HF_HUB_OFFLINE": ""},
        timeout=300,
    )
    assert run.stdout == "True\n", run.stderr


@pytest.mark.slow
def test_a_batch_equals_single_answers(core: ICDPO) -> None:
    chat = ChatICDPO(icdpo=core, **SHORT)
    questions = [QUESTION, "How can I say sorry?"]
    assert [m.content for m in chat.batch(questions)] == [chat.invoke(q).content for q in questions]


def test_the_reranker_prefers_the_kind_answer(core: ICDPO) -> None:
    kind = "I am sorry that you two had a fight. Call her, and tell her how you felt."
    # Per token: a sum of negative scores favours the shorter answer.
    each = ICDPO(core.policy, core.retriever, InstantScorer(aggregate="mean"))
    best = InstantReranker(icdpo=each).best()
    assert best.invoke({"input": QUESTION, "candidates": ["Who cares.", kind]}) == kind


def test_a_correction_changes_what_is_shown_and_what_is_cached(
    policy: TransformersPolicy, tmp_path: Path
) -> None:
    with DemonstrationStore(tmp_path) as store:
        record_feedback(store, "Where is my parcel?", chosen="Ahoy! I shall look.", rejected="No idea.")
    set_llm_cache(InMemoryCache())
    try:
        chat = ChatICDPO(icdpo=ICDPO.from_defaults(policy, store=tmp_path), **SHORT)
        first = chat.invoke("When does my parcel come?")
        assert chat.invoke("When does my parcel come?").response_metadata == first.response_metadata
        recorded = record_feedback(
            chat.core.retriever.store,  # type: ignore[attr-defined]
            ["When does my parcel come?", first],
            chosen="Ahoy! Tomorrow, if the wind be fair.",
        )
        second = chat.invoke("When does my parcel come?")
        assert recorded.id in second.response_metadata["icdpo"]["demonstrations"]
        assert recorded.id not in first.response_metadata["icdpo"]["demonstrations"]
    finally:
        set_llm_cache(None)
