"""Thoughts of a model that thinks, in LlamaIndex's form."""

from __future__ import annotations

from llama_index.core.base.llms.types import ChatMessage, TextBlock, ThinkingBlock

from llama_index_icdpo import ICDPOLLM

from ..fake_core import KIND, make_core


def test_the_thought_is_a_block_of_its_own() -> None:
    llm = ICDPOLLM(icdpo=make_core((f"<think>Hm.</think>{KIND}",), n=1))
    message = llm.chat([ChatMessage(content="My bike broke.")]).message
    assert (message.blocks, message.content) == ([ThinkingBlock(content="Hm."), TextBlock(text=KIND)], KIND)
    assert llm.complete("My bike broke.").text == KIND
    pieces = list(llm.stream_chat([ChatMessage(content="My bike broke.")]))
    assert "".join(piece.delta or "" for piece in pieces) == KIND
    assert pieces[-1].message.blocks == message.blocks
