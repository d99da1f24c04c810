"""`thinking=`: the switch of each chat template, found by a probe."""

from __future__ import annotations

import copy
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
    ReasoningTags,
)
from icdpo_chains.errors import PromptError
from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.prompts.thinking import SWITCH

from .templates import FAMILIES, family_tokenizer

QUESTION = [Message("user", "Are you well?")]
SHOWN = [((Message("user", "Hello"),), "Good day!")]

OPTIONS: dict[str, dict[Any, dict[str, Any]]] = {
    "qwen3": {True: {"enable_thinking": True}, False: {"enable_thinking": False}},
    "smollm3": {True: {"enable_thinking": True}, False: {"enable_thinking": False}},
    "glm4": {True: {"enable_thinking": True}, False: {"enable_thinking": False}},
    "granite3": {True: {"thinking": True}, False: {"thinking": False}},
    "deepseek_r1": {True: {}},
    "gpt_oss": {True: {}, **{word: {"reasoning_effort": word} for word in ("low", "medium", "high")}},
}
"""What the switch becomes; a family without an entry has none."""

REMEDIES = {
    "qwen3": "thinking takes True, False here",
    "smollm3": "thinking takes True, False here",
    "glm4": "thinking takes True, False here",
    "granite3": "thinking takes True, False here",
    "deepseek_r1": "max_thinking_tokens limits a thought",
    "gpt_oss": "thinking takes 'low', 'medium', 'high' here",
}


def tokenizer_with(template: str) -> Any:
    tokenizer = copy.deepcopy(byte_tokenizer())
    tokenizer.chat_template = template
    return tokenizer


def switched(tokenizer: Any, value: Any) -> dict[str, Any]:
    return dict(ChatFormat(tokenizer).with_template_kwargs(None, value).options)


@pytest.mark.parametrize("value", [True, False, "low", "medium", "high"])
@pytest.mark.parametrize("family", FAMILIES)
def test_each_template_is_switched_or_says_what_fits(family: str, value: Any) -> None:
    tokenizer = family_tokenizer(family)
    expected = OPTIONS.get(family, {}).get(value)
    if expected is None:
        with pytest.raises(
            PromptError, match=f"no switch for thinking={value!r}: .*leave it out|takes"
        ) as error:
            switched(tokenizer, value)
        assert REMEDIES.get(family, "leave it out; a switch of another name") in str(error.value)
        return
    assert switched(tokenizer, value) == expected
    form = ChatFormat(tokenizer)
    assert form.with_template_kwargs(None, value).context(QUESTION, SHOWN, "Be kind.") == (
        form.with_template_kwargs(expected).context(QUESTION, SHOWN, "Be kind.")
    )


START = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
ENDS: dict[str, tuple[str, dict[Any, dict[str, Any] | None]]] = {
    "a keyword of Command A": (
        "{% if reasoning is not defined or reasoning %}+{% else %}-{% endif %}",
        {True: {"reasoning": True}, False: {"reasoning": False}, "low": None},
    ),
    "a budget, as Seed-OSS has it": (
        "{% if thinking_budget is defined and thinking_budget == 0 %}-{% endif %}",
        {True: {"thinking_budget": -1}, False: {"thinking_budget": 0}},
    ),
    "efforts of which one is none": (
        "{% if reasoning_effort is not defined or reasoning_effort not in ['high', 'low', 'none'] %}"
        "{% set reasoning_effort = 'none' %}{% endif %}effort={{ reasoning_effort }}",
        {
            True: {"reasoning_effort": "high"},
            False: {"reasoning_effort": "none"},
            "low": {"reasoning_effort": "low"},
            "medium": None,
        },
    ),
    "a keyword and efforts": (
        "{% if thinking %}+{{ reasoning_effort or 'high' }}{% endif %}"
        "{% if reasoning_effort == 'low' %}!{% endif %}",
        {
            True: {"thinking": True},
            False: {"thinking": False},
            "low": {"thinking": True, "reasoning_effort": "low"},
        },
    ),
    "an effort that changes nothing": (
        "{% set effort = 'high' if reasoning_effort == 'high' else 'high' %}{{ effort }}",
        {True: None, False: None, "high": None},
    ),
    "a keyword that changes nothing": ("{# enable_thinking #}", {True: None, False: None}),
    "a keyword that the template refuses": (
        "{% if enable_thinking is defined and not enable_thinking %}"
        "{{ raise_exception('always') }}{% endif %}",
        {True: {"enable_thinking": True}},
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_switch_is_what_changes_the_text(name: str) -> None:
    end, expected = ENDS[name]
    for value, options in expected.items():
        if options is None:
            with pytest.raises(PromptError, match="no switch"):
                switched(tokenizer_with(START + end), value)
        else:
            assert switched(tokenizer_with(START + end), value) == options


WORDS = (
    "{% set own = messages[0].content if messages[0].role == 'system' else '' %}"
    + START
    + "{% if '/no_think' in own %}<think></think>{% elif '/think' in own %}<think>{% endif %}"
)


def test_a_switch_that_is_a_word_stands_in_the_first_system_message() -> None:
    tokenizer = tokenizer_with(WORDS)
    form = ChatFormat(tokenizer)
    off, on = (form.with_template_kwargs(None, value) for value in (False, True))
    assert (off.options, on.options) == ({SWITCH: "/no_think"}, {SWITCH: "/think"})
    for instruction in ("Be kind.", None):  # as in the context of chosen answers, and in the bare one
        assert tokenizer.decode(off.context(QUESTION, SHOWN, instruction)).endswith("<think></think>")
        assert tokenizer.decode(on.context(QUESTION, SHOWN, instruction)).endswith("<think>")
    # The conversation's own word goes before the setting.
    own = [Message("system", "Answer. /no_think"), *QUESTION]
    text = tokenizer.decode(on.context(own, SHOWN, "Be kind."))
    assert text.endswith("<think></think>")


def test_the_same_keyword_twice_is_an_error() -> None:
    form = ChatFormat(family_tokenizer("qwen3"))
    with pytest.raises(PromptError, match="both set 'enable_thinking'"):
        form.with_template_kwargs({"thinking": True}, False)
    later = form.with_template_kwargs({"thinking": True}).with_template_kwargs(None, False)
    assert later.options == {"enable_thinking": False}  # such as a call's


@pytest.mark.parametrize(
    ("wrong", "kind"), [("much", ValueError), (1, TypeError), (0.0, TypeError), ([], TypeError)]
)
def test_other_values_are_refused(wrong: Any, kind: type[Exception]) -> None:
    form = ChatFormat(family_tokenizer("qwen3"))
    form.with_template_kwargs(None, True)
    with pytest.raises(kind, match="True, False or one of 'low', 'medium', 'high'"):
        form.with_template_kwargs(None, wrong)


def core(seen: list[str], **options: Any) -> ICDPO:
    def respond(context: str) -> list[str]:
        seen.append(context)
        return ["Yes."]

    policy = FakePolicy(respond)
    policy.tokenizer = family_tokenizer("qwen3")
    demonstrations = FixedDemonstrations([Demonstration("Hello", "Good day!", "No.")], k=1)
    return ICDPO(policy, demonstrations, n=1, **options)


def test_an_icdpo_and_a_call_switch() -> None:
    seen: list[str] = []
    plain, off = core(seen), core(seen, thinking=False)
    for icdpo, options in ((plain, {}), (plain, {"thinking": False}), (off, {}), (off, {"thinking": True})):
        icdpo.generate("Are you well?", **options)
        icdpo.generate_batch(["Are you well?"], **options)
        list(icdpo.stream("Are you well?", **options))
    assert [text.endswith("</think>\n\n") for text in seen] == [*[False] * 3, *[True] * 6, *[False] * 3]
    scores = [
        one.score("Are you well?", ["Yes."], **more)
        for one, more in ((plain, {"thinking": False}), (off, {}))
    ]
    assert scores[0].usage == scores[1].usage != plain.score("Are you well?", ["Yes."]).usage
    with pytest.raises(PromptError, match="PlainFormat has no chat template for thinking=False"):
        core([], format=PlainFormat(byte_tokenizer()), thinking=False)


def test_thoughts_between_own_tags_are_not_shown_again() -> None:
    seen: list[str] = []
    icdpo = core(seen, reasoning_tags=["<r>", "</r>"])
    icdpo.retriever = FixedDemonstrations(
        [Demonstration("Hello", "<r>Hm.</r>Good day!", "[THINK]Ha.[/THINK]No.")], k=1
    )
    turns = [("user", "Hi"), ("assistant", "<r>Greet.</r>Hi!"), ("user", "Are you well?")]
    result = icdpo.generate([Message(role, text) for role, text in turns])  # type: ignore[arg-type]
    rejected = icdpo.policy.tokenizer.decode(icdpo.ask("Hi", result.demonstrations).contexts.contrast)
    assert "Good day!" in seen[0]
    assert "Hi!" in seen[0]
    assert "No." in rejected
    assert not any(thought in seen[0] + rejected for thought in ("Hm.", "Greet.", "Ha."))
    assert icdpo.reasoning_tags == (ReasoningTags("<r>", "</r>"),)
