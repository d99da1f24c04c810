"""Thoughts of a model that thinks, in LlamaIndex's form."""

from __future__ import annotations

import pytest
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ThinkingBlock
from llama_index.core.tools import FunctionTool

from icdpo_chains import ChatFormat
from llama_index_icdpo import ICDPOLLM

from ..fake_core import KIND, make_core
from ..prompts.templates import family_tokenizer


@pytest.mark.parametrize("n", [1, 2])
def test_the_thought_is_a_block_of_its_own_and_comes_first(n: int) -> None:
    llm = ICDPOLLM(icdpo=make_core((f"<think>Hm.</think>{KIND}",), n=n))
    message = llm.chat([ChatMessage(content="My bike broke.")]).message
    assert (message.blocks, message.content) == ([ThinkingBlock(content="Hm."), TextBlock(text=KIND)], KIND)
    assert llm.complete("My bike broke.").text == KIND
    pieces = list(llm.stream_chat([ChatMessage(content="My bike broke.")]))
    assert "".join(piece.delta or "" for piece in pieces) == KIND
    assert pieces[-1].message.blocks == message.blocks
    thoughts = [piece.additional_kwargs.get("thinking_delta") for piece in pieces]
    assert thoughts == ["Hm.", *[None] * (len(pieces) - 1)]
    assert "".join(piece.delta or "" for piece in llm.stream_complete("My bike broke.")) == KIND


def test_the_thought_of_an_answer_that_may_be_a_call_comes_with_the_answer() -> None:
    """An agent of LlamaIndex gives tools with each question."""
    llm = ICDPOLLM(icdpo=make_core((f"<think>Hm.</think>{KIND}",), n=1, tools=True))
    tool = FunctionTool.from_defaults(lambda place: "sunny", name="weather", description="The weather.")
    (piece,) = llm.stream_chat_with_tools([tool], user_msg="My bike broke.")
    assert (piece.delta, piece.additional_kwargs["thinking_delta"]) == (KIND, "Hm.")


def test_thinking_is_switched_off_in_the_llm_and_in_a_call() -> None:
    seen: list[str] = []

    def respond(context: str) -> list[str]:
        seen.append(context)
        return ["Yes."]

    core = make_core(respond, n=1)
    core.policy.tokenizer = family_tokenizer("qwen3")
    core.format = ChatFormat(core.policy.tokenizer)
    off = {"enable_thinking": False}
    ICDPOLLM(icdpo=core).complete("Hi")
    ICDPOLLM(icdpo=core, chat_template_kwargs=off).complete("Hi")
    ICDPOLLM(icdpo=core).chat([ChatMessage(content="Hi")], chat_template_kwargs=off)
    ICDPOLLM(icdpo=core, thinking=False).complete("Hi")
    ICDPOLLM(icdpo=core).chat([ChatMessage(content="Hi")], thinking=False)
    ICDPOLLM(icdpo=core, thinking=False).complete("Hi", thinking=True)
    assert [context.endswith("</think>\n\n") for context in seen] == [False, *[True] * 4, False]
