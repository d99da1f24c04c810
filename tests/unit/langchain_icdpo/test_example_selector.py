"""`DemonstrationSelector` in LangChain's few-shot prompts."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.prompts import (
    ChatPromptTemplate,
    FewShotChatMessagePromptTemplate,
    FewShotPromptTemplate,
    PromptTemplate,
)

from icdpo_chains import Demonstration, DemonstrationStore, FixedDemonstrations, Message
from icdpo_chains.errors import DemonstrationError, InvalidInputError, StoreError
from langchain_icdpo import DemonstrationSelector

from ..fake_core import DEMONSTRATIONS

BRACES = Demonstration("What is {x} in {{ f }}?", "It is {question}, or {0}.", "No {idea}.")


async def test_examples_are_those_that_resemble_the_input(store: DemonstrationStore) -> None:
    selector = DemonstrationSelector(store, k=1)
    expected = [
        {
            "input": "Where are my keys?",
            "output": "I would be glad to help you look for them.",
            "rejected": "Look for them yourself.",
        }
    ]
    assert selector.select_examples({"input": "I lost my keys."}) == expected
    assert await selector.aselect_examples({"input": "I lost my keys."}) == expected
    assert selector.select_examples({"question": "I lost my keys."}) == expected, "the only variable is it"
    assert selector.select_examples({"input": [HumanMessage("I lost my keys.")], "how": "kind"}) == expected


async def test_an_example_that_is_added_is_found_once(store: DemonstrationStore) -> None:
    selector = DemonstrationSelector(store, k=5, input_key="q", output_key="a")
    example = {"q": "Is the oven on?", "a": "No, I checked.", "rejected": "Dunno.", "topic": "home"}
    id_ = selector.add_example(example)
    assert await selector.aadd_example(example) == id_
    found = selector.select_examples({"q": "the oven"})
    assert found[0] == {"q": "Is the oven on?", "a": "No, I checked.", "rejected": "Dunno."}
    assert len(found) == len({item["q"] for item in found}) == 4
    assert store.get(id_)[0].metadata == {"topic": "home"}


def test_braces_in_examples_are_only_text() -> None:
    examples = DemonstrationSelector(retriever=FixedDemonstrations([BRACES]), input_key="question")
    chat = ChatPromptTemplate.from_messages(
        [
            FewShotChatMessagePromptTemplate(
                example_selector=examples,
                example_prompt=ChatPromptTemplate.from_messages(
                    [("human", "{question}"), ("ai", "{output}")]
                ),
                input_variables=["question"],
            ),
            ("human", "{question}"),
        ]
    )
    contents = [message.content for message in chat.invoke({"question": "And {y}?"}).to_messages()]
    assert contents == [BRACES.prompt, BRACES.chosen, "And {y}?"]

    examples.escape_braces = True
    text = FewShotPromptTemplate(
        example_selector=examples,
        example_prompt=PromptTemplate.from_template("Q: {question}\nA: {output}"),
        suffix="Q: {question}\nA:",
        input_variables=["question"],
    )
    assert text.invoke({"question": "And {y}?"}).to_string() == (
        f"Q: {BRACES.prompt}\nA: {BRACES.chosen}\n\nQ: And {{y}}?\nA:"
    )


def test_a_prompt_of_several_turns_says_who_speaks() -> None:
    turns = [Message("user", "Hi"), Message("assistant", "Hello!"), Message("user", "Bye")]
    selector = DemonstrationSelector(
        retriever=FixedDemonstrations([Demonstration(turns, "Farewell.")]),
    )
    assert selector.select_examples({"input": "?"}) == [
        {"input": "Human: Hi\nAI: Hello!\nHuman: Bye", "output": "Farewell."}
    ]


@pytest.mark.parametrize(
    ("variables", "says"),
    [({"a": "x", "b": "y"}, "no variable is named 'input'.*a, b"), ({}, "none"), ({"input": " "}, "blank")],
    ids=str,
)
def test_without_an_input_nothing_is_selected(
    store: DemonstrationStore, variables: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidInputError, match=says):
        DemonstrationSelector(store).select_examples(variables)


def test_an_example_that_can_not_be_used_changes_nothing(store: DemonstrationStore) -> None:
    selector = DemonstrationSelector(store)
    with pytest.raises(InvalidInputError, match="has no 'output'; it has: input"):
        selector.add_example({"input": "x"})
    with pytest.raises(DemonstrationError, match="the same"):
        selector.add_example({"input": "x", "output": "y", "rejected": "y"})
    assert len(store) == len(DEMONSTRATIONS)
    with pytest.raises(StoreError, match="give store="):
        DemonstrationSelector(retriever=FixedDemonstrations([BRACES])).add_example(
            {"input": "x", "output": "y"}
        )
