"""Chat models behind LangChain's interface, without LangChain."""

from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser

from icdpo_chains.external_chat_model import chat_turns, model_name, reply
from icdpo_chains.messages import Message


class Fixed:
    def __init__(self, content: Any) -> None:
        self.content = content
        self.asked: list[Any] = []

    def invoke(self, messages: Any) -> Any:
        self.asked.append(messages)
        return SimpleNamespace(content=self.content)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("hello", "hello"),
        ("", ""),
        ([], ""),
        (["he", {"type": "text", "text": "llo"}], "hello"),
        ([{"type": "thinking", "thinking": "VERDICT: A"}, {"type": "text", "text": "hello"}], "hello"),
        ([{"type": "reasoning", "text": "hm"}, {"type": "output_text", "text": "hello"}], "hello"),
        ([{"type": "text", "text": None}, 7], ""),
    ],
)
def test_the_text_of_an_answer(content: Any, text: str) -> None:
    assert reply(Fixed(content), [("human", "hi")]) == text


@pytest.mark.parametrize("content", [None, 7])
def test_an_answer_that_holds_no_content(content: Any) -> None:
    with pytest.raises(TypeError, match="Fixed answered with a SimpleNamespace, which has no text"):
        reply(Fixed(content), [("human", "hi")])


def test_a_chain_that_ends_in_a_text_is_a_chat_model() -> None:
    chain = FakeListChatModel(responses=["done"]) | StrOutputParser()
    assert reply(chain, [("human", "hi")]) == "done"


def test_every_role_reaches_a_langchain_model_and_braces_stay() -> None:
    conversation = [
        Message("system", "Be {kind}."),
        Message("user", "{x} {{y}}"),
        Message("assistant", "calling"),
        Message("tool", "42"),
    ]
    model = FakeListChatModel(responses=["done"])
    assert reply(model, chat_turns(conversation)) == "done"
    seen = Fixed("done")
    reply(seen, chat_turns(conversation))
    assert seen.asked == [
        [("system", "Be {kind}."), ("human", "{x} {{y}}"), ("ai", "calling"), ("human", "42")]
    ]
    from langchain_core.messages import convert_to_messages

    assert [m.content for m in convert_to_messages(seen.asked[0])] == [m.content for m in conversation]


def test_what_a_model_is_called() -> None:
    assert model_name(SimpleNamespace(model_name="gpt", model="other")) == "gpt"
    assert model_name(SimpleNamespace(model_name=None, model="llama")) == "llama"
    assert model_name(FakeListChatModel(responses=[])) == "FakeListChatModel"
