"""From LlamaIndex's messages to the core's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.messages import Message
from icdpo_chains.tool_calls.tool_call import ToolCall
from llama_index_icdpo.messages import to_conversation


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("system", "system"),
        ("developer", "system"),
        ("user", "user"),
        ("assistant", "assistant"),
        ("chatbot", "assistant"),
        ("model", "assistant"),
        ("tool", "tool"),
        ("function", "tool"),
    ],
)
def test_every_role_is_known(role: str, expected: str) -> None:
    assert to_conversation([ChatMessage("Hi", role=MessageRole(role))]) == (Message(expected, "Hi"),)  # type: ignore[arg-type]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_text_is_kept_exactly(texts: list[str]) -> None:
    conversation = to_conversation([ChatMessage(text) for text in texts])
    assert [message.content for message in conversation] == texts


def test_blocks() -> None:
    message = ChatMessage(
        [
            ThinkingBlock(content="Hm."),
            TextBlock(text="One."),
            TextBlock(text="Two {x}."),
            ToolCallBlock(tool_name="find", tool_kwargs={"what": "Schlüssel"}),
        ],
        role="assistant",
    )
    (turn,) = to_conversation([message])
    assert turn == Message("assistant", "One.\nTwo {x}.", (ToolCall("find", {"what": "Schlüssel"}),))


def test_a_tools_result_names_its_call() -> None:
    given = {"tool_call_id": "c1", "name": "find"}
    (turn,) = to_conversation([ChatMessage("Here.", role="tool", additional_kwargs=given)])
    assert turn == Message("tool", "Here.", tool_call_id="c1", name="find")


def test_an_empty_message_is_an_empty_turn() -> None:
    assert to_conversation([ChatMessage(role="assistant")]) == (Message("assistant", ""),)


@pytest.mark.parametrize("block", [ImageBlock(url="https://x/y.png"), AudioBlock(audio=b"x")], ids=type)
def test_what_is_no_text_is_a_clear_error(block: ImageBlock | AudioBlock) -> None:
    with pytest.raises(InvalidInputError, match=r"message 1 \(user\) has a '(image|audio)' block"):
        to_conversation([ChatMessage("Hi"), ChatMessage([block])])
