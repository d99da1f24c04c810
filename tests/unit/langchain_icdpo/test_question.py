"""What a chain's input amounts to."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.messages import search_text
from langchain_icdpo.messages import to_conversation
from langchain_icdpo.question import to_question


@pytest.mark.parametrize(
    ("value", "contents"),
    [
        ("Why?", ["Why?"]),
        ([HumanMessage("Why?")], ["Why?"]),
        (ChatPromptTemplate.from_template("{x}").invoke({"x": "Why?"}), ["Why?"]),
        ({"input": "Why?"}, ["Why?"]),
        ({"input": "Why?", "context": None, "chat_history": None}, ["Why?"]),
        ({"input": "Why?", "context": [], "chat_history": []}, ["Why?"]),
        (
            {"input": [HumanMessage("Why?")], "chat_history": [("human", "Hi"), ("ai", "Hello")]},
            ["Hi", "Hello", "Why?"],
        ),
    ],
    ids=str,
)
def test_each_form_of_input(value: Any, contents: list[str]) -> None:
    assert [message.content for message in to_question(value)] == contents


@pytest.mark.parametrize(
    "context",
    ["{x} A fact.", Document("{x} A fact."), [Document("{x}"), "A fact."], ("{x}", Document("A fact."))],
    ids=str,
)
def test_the_context_goes_into_a_system_message_which_retrieval_does_not_look_at(context: Any) -> None:
    history = [SystemMessage("Be brief."), HumanMessage("Hi"), AIMessage("Hello")]
    question = to_question({"input": "Why?", "context": context, "chat_history": history})
    assert [message.type for message in question] == ["system", "human", "ai", "system", "human"]
    assert question[0].content == "Be brief."
    said = str(question[3].content)
    assert said.startswith("Answer from the following documents.")
    assert said.endswith(("\n\n{x} A fact.", "\n\n{x}\n\nA fact."))
    assert search_text(to_conversation(question)) == "Hi\nHello\nWhy?"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({}, "the input has: nothing"),
        ({"question": "Why?"}, "'input' is missing; the input has: question"),
        ({"input": "Why?", "context": 7}, "context is a int"),
        ({"input": 7}, "not int"),
        (None, "not NoneType"),
    ],
    ids=str,
)
def test_what_is_no_input(value: Any, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        to_question(value)
