"""Thoughts of a model that thinks, in LangChain's form."""

from __future__ import annotations

import pytest

from icdpo_chains import ChatFormat
from icdpo_chains.errors import PromptError
from langchain_icdpo import ChatICDPO
from langchain_icdpo.chat_model.cache_key import cache_key

from ...fake_core import KIND, make_core
from ...prompts.templates import family_tokenizer


@pytest.mark.parametrize("n", [1, 2])
def test_the_thought_stands_beside_the_answer_and_comes_first(n: int) -> None:
    chat = ChatICDPO(icdpo=make_core((f"<think>Hm.</think>{KIND}",), n=n))
    expected = [{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": KIND}]
    message = chat.invoke("My bike broke.")
    assert (message.content, message.content_blocks) == (KIND, expected)
    chunks = list(chat.stream("My bike broke."))
    assert "".join(chunk.text for chunk in chunks) == KIND
    thinking, *others = (chunk.additional_kwargs.get("reasoning_content") for chunk in chunks)
    assert (thinking, chunks[0].content, any(others)) == ("Hm.", "", False)
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.additional_kwargs["reasoning_content"] == "Hm."


def test_thinking_is_switched_off_in_the_model_and_in_a_call() -> None:
    seen: list[str] = []

    def respond(context: str) -> list[str]:
        seen.append(context)
        return ["Yes."]

    core = make_core(respond, n=1)
    core.policy.tokenizer = family_tokenizer("qwen3")
    core.format = ChatFormat(core.policy.tokenizer)
    off = {"enable_thinking": False}
    ChatICDPO(icdpo=core).invoke("Hi")
    ChatICDPO(icdpo=core, chat_template_kwargs=off).invoke("Hi")
    ChatICDPO(icdpo=core).invoke("Hi", chat_template_kwargs=off)
    ChatICDPO(icdpo=core).bind(chat_template_kwargs=off).batch(["Hi", "Ho"])
    ChatICDPO(icdpo=core, thinking=False).invoke("Hi")
    ChatICDPO(icdpo=core).bind(thinking=False).batch(["Hi", "Ho"])
    assert [context.endswith("</think>\n\n") for context in seen] == [False, *[True] * 7]
    ChatICDPO(icdpo=core, thinking=False).invoke("Hi", thinking=True)
    ChatICDPO(icdpo=core, thinking=False).invoke("Hi", chat_template_kwargs={"enable_thinking": True})
    assert not any(context.endswith("</think>\n\n") for context in seen[-2:])
    with pytest.raises(PromptError, match="thinking takes True, False here"):
        ChatICDPO(icdpo=core).invoke("Hi", thinking="high")
    keys = {cache_key(core.with_chat_template_kwargs(kwargs)) for kwargs in (None, off)}
    assert len(keys) == 2
