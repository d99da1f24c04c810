"""`InstantReranker` and `InstantScoreCompressor`: candidates from anywhere, ranked."""

from __future__ import annotations

import math
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from pydantic import ValidationError

from icdpo_chains import ICDPO
from icdpo_chains.errors import InvalidInputError, NoCandidateError
from langchain_icdpo import DemonstrationRetriever, InstantReranker, InstantScoreCompressor

from ..fake_core import KIND, RUDE, make_core

QUESTION = "I lost my keys."


@pytest.fixture
def reranker(core: ICDPO) -> InstantReranker:
    return InstantReranker(icdpo=core)


@pytest.mark.parametrize("kind", [str, AIMessage, Document], ids=lambda kind: kind.__name__)
async def test_the_objects_that_were_given_come_back_ranked(
    reranker: InstantReranker, core: ICDPO, kind: Any
) -> None:
    candidates = [kind(RUDE), kind(KIND), kind("Maybe.")]
    value = {"input": QUESTION, "candidates": candidates}
    ranked = reranker.invoke(value)
    expected = core.score(QUESTION, [RUDE, KIND, "Maybe."]).candidates
    assert [(item.text, item.score, item.index) for item in ranked] == [
        (item.text, item.score, item.index) for item in expected
    ]
    assert all(item.candidate is candidates[item.index] for item in ranked)
    assert ranked[0].text == KIND
    assert await reranker.ainvoke(value) == ranked
    assert reranker.batch([value, value]) == [ranked, ranked]
    assert reranker.best().invoke(value) is candidates[1]
    assert await reranker.best().ainvoke(value) is candidates[1]


def test_it_ranks_what_any_model_says(reranker: InstantReranker) -> None:
    model = FakeListChatModel(responses=[RUDE, KIND])
    chain = (
        RunnablePassthrough.assign(candidates=RunnableLambda(lambda x: model.batch([x["input"]] * 2)))
        | reranker.best()
    )
    assert chain.invoke({"input": [HumanMessage(QUESTION)]}).content == KIND


def test_given_demonstrations_are_shown_in_place_of_its_own(reranker: InstantReranker, core: ICDPO) -> None:
    documents = DemonstrationRetriever(retriever=core.retriever, k=1).invoke(QUESTION)
    value = {"input": QUESTION, "candidates": [RUDE, KIND], "demonstrations": documents}
    scores = [item.score for item in reranker.invoke(value)]
    assert scores == [item.score for item in core.score(QUESTION, [RUDE, KIND], k=1).candidates]
    assert scores == [
        item.score for item in InstantReranker(icdpo=core, k=1).invoke({**value, "demonstrations": None})
    ]


def test_history_and_context_belong_to_the_question(reranker: InstantReranker) -> None:
    plain = reranker.invoke({"input": QUESTION, "candidates": [KIND]})[0].score
    history = reranker.invoke(
        {"input": QUESTION, "candidates": [KIND], "chat_history": [("human", "Hi"), ("ai", "Ho")]}
    )
    context = reranker.invoke({"input": QUESTION, "candidates": [KIND], "context": "Keys are small."})
    assert len({plain, history[0].score, context[0].score}) == 3


def test_top_n_and_blank_candidates(core: ICDPO) -> None:
    ranked = InstantReranker(icdpo=core).invoke({"input": QUESTION, "candidates": [" ", RUDE, KIND]})
    assert [item.index for item in ranked] == [2, 1, 0]
    assert ranked[-1].score == -math.inf
    assert (
        len(InstantReranker(icdpo=core, top_n=1).invoke({"input": QUESTION, "candidates": [RUDE, KIND]})) == 1
    )


@pytest.mark.parametrize(
    ("value", "error", "says"),
    [
        ({"input": QUESTION}, InvalidInputError, "must contain 'input' and 'candidates'; given: input"),
        ({"candidates": [KIND]}, InvalidInputError, "'input' is missing"),
        (QUESTION, InvalidInputError, "given: str"),
        ({"input": QUESTION, "candidates": []}, ValueError, "at least one"),
        ({"input": QUESTION, "candidates": [7]}, InvalidInputError, "candidate 0 is a int"),
        (
            {"input": QUESTION, "candidates": [KIND, AIMessage([{"type": "image", "url": "x"}])]},
            InvalidInputError,
            "candidate 1 contains a part of type 'image'",
        ),
        ({"input": QUESTION, "candidates": ["", " "]}, NoCandidateError, "blank"),
        ({"input": " ", "candidates": [KIND]}, InvalidInputError, "blank"),
    ],
    ids=str,
)
def test_bad_input(reranker: InstantReranker, value: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        reranker.invoke(value)


@pytest.mark.parametrize("settings", [{"k": 0}, {"top_n": 0}, {"unknown": 1}], ids=str)
def test_wrong_settings(settings: dict[str, Any]) -> None:
    for kind in (InstantReranker, InstantScoreCompressor):
        with pytest.raises(ValidationError):
            kind(**settings)


async def test_the_compressor_orders_copies_of_documents(core: ICDPO) -> None:
    documents = [
        Document(text, metadata={"page": i}, id=str(i)) for i, text in enumerate([RUDE, KIND, "", "Maybe."])
    ]
    before = [document.model_copy(deep=True) for document in documents]
    compressor = InstantScoreCompressor(icdpo=core, top_n=4)
    ordered = compressor.compress_documents(documents, QUESTION)
    scores = core.score(QUESTION, [document.page_content for document in documents]).candidates
    assert [document.id for document in ordered] == [str(item.index) for item in scores]
    assert [document.metadata["relevance_score"] for document in ordered] == [
        *(item.score for item in scores[:-1]),
        None,
    ]
    assert ordered[0].metadata["page"] == 1
    assert documents == before
    assert await compressor.acompress_documents(documents, QUESTION) == ordered
    assert len(InstantScoreCompressor(icdpo=core, top_n=2).compress_documents(documents, QUESTION)) == 2
    assert compressor.compress_documents([], QUESTION) == []


def test_a_thought_is_not_ranked() -> None:
    candidates = [f"<think>{KIND}</think>{RUDE}", AIMessage(f"<think>{RUDE}</think>{KIND}")]
    reranker = InstantReranker(icdpo=make_core())
    best = reranker.invoke({"input": "My bike broke.", "candidates": candidates})[0]
    assert (best.candidate, best.text) == (candidates[1], KIND)


def test_an_image_in_the_question_does_not_end_the_ranking(core: ICDPO) -> None:
    question = [HumanMessage([{"type": "text", "text": "What is this?"}, {"type": "image", "url": "x"}])]
    found = InstantReranker(icdpo=core).invoke({"input": question, "candidates": [RUDE, KIND]})
    assert [item.text for item in found] == [KIND, RUDE]
