"""Keywords of chat templates, from `ICDPO` down to the context."""

from __future__ import annotations

from typing import Any

import pytest

from icdpo_chains import (
    ICDPO,
    ChatFormat,
    Demonstration,
    FakePolicy,
    FixedDemonstrations,
    Message,
    PlainFormat,
)
from icdpo_chains.errors import PromptError
from icdpo_chains.policies.fake import byte_tokenizer

from .templates import family_tokenizer

QUESTION = [Message("user", "Are you well?")]
SHOWN = [((Message("user", "Hello"),), "Good day!")]
OFF = {
    "qwen3": "<think>\n\n</think>\n\n",
    "smollm3": "<think>\n\n</think>\n",
    "glm4": "<think></think>",
}


@pytest.mark.parametrize("name", ["enable_thinking", "thinking"])
@pytest.mark.parametrize("family", OFF)
def test_thinking_is_switched_off_and_on(family: str, name: str) -> None:
    tokenizer = family_tokenizer(family)
    layout = ChatFormat(tokenizer)
    ends = {
        value: tokenizer.decode(
            layout.with_template_kwargs({name: value}).context(QUESTION, SHOWN, "Be kind.")
        )
        for value in (True, False)
    }
    assert ends[False].endswith(OFF[family])
    assert not ends[True].endswith(OFF[family])
    assert ends[True] == tokenizer.decode(layout.context(QUESTION, SHOWN, "Be kind."))


@pytest.mark.parametrize("name", ["enable_thinking", "thinking"])
def test_granite_thinks_when_told(name: str) -> None:
    tokenizer = family_tokenizer("granite3")
    layout = ChatFormat(tokenizer).with_template_kwargs({name: True})
    assert "two parts" in tokenizer.decode(layout.context(QUESTION, [], None))


def test_the_effort_of_gpt_oss() -> None:
    tokenizer = family_tokenizer("gpt_oss")
    layout = ChatFormat(tokenizer).with_template_kwargs({"reasoning_effort": "high"})
    assert "Reasoning: high" in tokenizer.decode(layout.context(QUESTION, [], None))


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"enable_thinkng": False}, "no keyword 'enable_thinkng'"),
        ({"tools": []}, "which the prompt format sets itself"),
        ({"content": 1}, "no keyword 'content'"),
    ],
)
def test_a_keyword_without_effect_is_refused(kwargs: dict[str, Any], says: str) -> None:
    with pytest.raises(PromptError, match=says):
        ChatFormat(family_tokenizer("qwen3")).with_template_kwargs(kwargs)
    with pytest.raises(TypeError, match="must be a mapping"):
        ChatFormat(family_tokenizer("qwen3")).with_template_kwargs([1])  # type: ignore[arg-type]


def test_tools_and_keywords_are_shown_together() -> None:
    tokenizer = family_tokenizer("qwen3")
    tool = {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {}}}
    layout = ChatFormat(tokenizer)
    one = layout.with_tools([tool]).with_template_kwargs({"enable_thinking": False})
    other = layout.with_template_kwargs({"enable_thinking": False}).with_tools([tool])
    assert one.context(QUESTION, SHOWN, None) == other.context(QUESTION, SHOWN, None)
    text = tokenizer.decode(one.context(QUESTION, SHOWN, None))
    assert '"add"' in text
    assert text.endswith(OFF["qwen3"])


def core(**options: Any) -> tuple[ICDPO, list[str]]:
    seen: list[str] = []

    def respond(context: str) -> list[str]:
        seen.append(context)
        return ["Yes."]

    policy = FakePolicy(respond)
    policy.tokenizer = family_tokenizer("qwen3")
    demonstrations = FixedDemonstrations([Demonstration("Hello", "Good day!", "No.")], k=1)
    return ICDPO(policy, demonstrations, n=1, **options), seen


def test_an_icdpo_and_a_call_give_keywords() -> None:
    icdpo, seen = core()
    icdpo.generate("Are you well?", chat_template_kwargs={"enable_thinking": False})
    icdpo.generate_batch(["Are you well?"], chat_template_kwargs={"enable_thinking": False})
    list(icdpo.stream("Are you well?", chat_template_kwargs={"enable_thinking": False}))
    icdpo.generate("Are you well?")  # the call before has not changed it
    assert [context.endswith(OFF["qwen3"]) for context in seen] == [True, True, True, False]
    always, seen = core(chat_template_kwargs={"enable_thinking": False})
    always.generate("Are you well?")
    always.generate("Are you well?", chat_template_kwargs={"enable_thinking": True})
    assert [context.endswith(OFF["qwen3"]) for context in seen] == [True, False]


def test_a_given_answer_is_scored_behind_the_same_context() -> None:
    icdpo, _ = core()
    always, _ = core(chat_template_kwargs={"enable_thinking": False})
    expected = always.score("Are you well?", ["Yes."])
    found = icdpo.score("Are you well?", ["Yes."], chat_template_kwargs={"enable_thinking": False})
    assert found.best.score == expected.best.score
    assert found.usage == expected.usage
    assert icdpo.score("Are you well?", ["Yes."]).usage != expected.usage


def test_a_plain_format_has_no_template() -> None:
    icdpo, _ = core(format=PlainFormat(byte_tokenizer()))
    with pytest.raises(PromptError, match="PlainFormat has no chat template"):
        icdpo.generate("?", chat_template_kwargs={"enable_thinking": False})
