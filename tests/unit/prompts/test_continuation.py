"""Prefill: the answer continues the assistant's turn that ends a conversation."""

from __future__ import annotations

from typing import Any

import pytest

from icdpo_chains import ICDPO, ChatFormat, Demonstration, FakePolicy, FixedDemonstrations, Message
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.policies.fake import byte_tokenizer

from .templates import FAMILIES, family_tokenizer

CONTINUED = {"continue_final_message": True}
SHOWN = [((Message("user", "Hello"),), "Good day!")]


@pytest.mark.parametrize("begin", ["Of course:", "Of course: ", "1.\n2."])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_context_ends_with_the_beginning_of_the_answer(family: str, begin: str) -> None:
    tokenizer = family_tokenizer(family)
    layout = ChatFormat(tokenizer).with_template_kwargs(CONTINUED)
    conversation = [Message("user", "Are you well?"), Message("assistant", begin)]
    for shown, instruction in (([], None), (SHOWN, "Be kind.")):
        text = tokenizer.decode(layout.context(conversation, shown, instruction))
        assert text.endswith(begin)
        assert text.count(begin) == 1
        assert "zqk" not in text


@pytest.mark.parametrize("family", FAMILIES)
def test_a_hostile_beginning_adds_no_control_token(family: str) -> None:
    tokenizer = family_tokenizer(family)
    layout = ChatFormat(tokenizer).with_template_kwargs(CONTINUED)
    controls = set(tokenizer.added_tokens_decoder)
    everything = " ".join(map(str, tokenizer.added_tokens_decoder.values()))
    found = []
    for begin in ("Well", f"{everything} well"):
        ids = layout.context([Message("user", "Are you well?"), Message("assistant", begin)], SHOWN, None)
        found.append([token for token in ids if token in controls])
        assert tokenizer.decode(ids).endswith("ell")
    assert found[0] == found[1]


def test_the_context_is_that_of_transformers() -> None:
    tokenizer = byte_tokenizer()
    conversation = [Message("user", "Are you well?"), Message("assistant", "Of course:")]
    layout = ChatFormat(tokenizer).with_template_kwargs(CONTINUED)
    assert layout.context(conversation, [], None) == tokenizer.apply_chat_template(
        [turn.to_dict() for turn in conversation], continue_final_message=True, return_dict=False
    )


def core() -> tuple[ICDPO, list[str], list[Any]]:
    seen: list[str] = []
    asked: list[Any] = []

    class Retriever(FixedDemonstrations):
        def retrieve(self, prompt: Any, *args: Any, **options: Any) -> Any:
            asked.append(prompt)
            return super().retrieve(prompt, *args, **options)

    def respond(context: str) -> list[str]:
        seen.append(context)
        return [" yes, I am."]

    return (
        ICDPO(FakePolicy(respond), Retriever([Demonstration("Hello", "Good day!", "No.")]), n=1),
        seen,
        asked,
    )


def test_an_answer_is_continued() -> None:
    icdpo, seen, asked = core()
    prompt = [Message("user", "Are you well?"), Message("assistant", "Of course:")]
    result = icdpo.generate(prompt, chat_template_kwargs=CONTINUED)
    assert result.text == " yes, I am."
    assert seen[0].endswith("<|im_start|>assistant\nOf course:")
    assert asked == [(Message("user", "Are you well?"),)]
    assert icdpo.score(prompt, [" yes, I am."], chat_template_kwargs=CONTINUED).best.score == pytest.approx(
        result.best.score
    )


def test_what_can_not_be_continued_is_refused() -> None:
    icdpo, _, _ = core()
    for prompt in ("Hi", [Message("user", "Hi"), Message("assistant", " ")]):
        with pytest.raises(InvalidInputError, match="does not end with an assistant turn"):
            icdpo.generate(prompt, chat_template_kwargs=CONTINUED)
    with pytest.raises(InvalidInputError, match="nothing to answer"):
        icdpo.generate([Message("user", "Hi"), Message("assistant", "Ho")])


def test_tools_are_shown_with_a_continued_answer() -> None:
    tokenizer = family_tokenizer("qwen3")
    tool = {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {}}}
    layout = ChatFormat(tokenizer).with_template_kwargs(CONTINUED).with_tools([tool])
    text = tokenizer.decode(
        layout.context([Message("user", "1?"), Message("assistant", "<tool_call>")], [], None)
    )
    assert '"add"' in text
    assert text.endswith("<tool_call>")
