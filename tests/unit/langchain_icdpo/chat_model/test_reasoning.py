"""Thoughts of a model that thinks, in LangChain's form."""

from __future__ import annotations

from langchain_icdpo import ChatICDPO

from ...fake_core import KIND, make_core


def test_the_thought_stands_beside_the_answer() -> None:
    chat = ChatICDPO(icdpo=make_core((f"<think>Hm.</think>{KIND}",), n=1))
    expected = [{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": KIND}]
    message = chat.invoke("My bike broke.")
    assert (message.content, message.content_blocks) == (KIND, expected)
    chunks = list(chat.stream("My bike broke."))
    assert "".join(chunk.text for chunk in chunks) == KIND
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.additional_kwargs["reasoning_content"] == "Hm."
