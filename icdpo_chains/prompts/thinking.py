"""`thinking=`: a chat template's own switch of thoughts, found by a probe."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, get_args

from icdpo_chains.errors import PromptError
from icdpo_chains.reasoning.tags import known_tags
from icdpo_chains.reasoning.thoughts import ThoughtReader

__all__ = ["SWITCH", "Effort", "Thinking", "checked_thinking", "thinking_options"]

Effort = Literal["low", "medium", "high"]
Thinking: TypeAlias = bool | Effort
"""Whether a model thinks, or how much."""

SWITCH = "thinking_switch"
"""The option whose value, a word such as `/no_think`, stands in the first system message."""

_EFFORTS = get_args(Effort)
_KEYWORDS: tuple[tuple[str, Any, Any], ...] = (
    ("enable_thinking", True, False),  # Qwen3, SmolLM3, GLM-4.5
    ("thinking", True, False),  # Granite 3, DeepSeek V3.1
    ("reasoning", True, False),  # Command A Reasoning
    ("thinking_budget", -1, 0),  # Seed-OSS
)
"""The keywords of published templates, with their values for thoughts and for none."""

_WORDS = ("/think", "/no_think")
_EFFORT = "reasoning_effort"  # gpt-oss and others
_NO_EFFORT = ("none", "no_think", "off")
_PROBE = "zqkeffort"


def checked_thinking(value: object) -> None:
    """Checks a value of `thinking`.

    Raises:
        TypeError: It is neither true nor false nor a text.
        ValueError: It is an unknown text.
    """
    expected = f"True, False or one of {', '.join(map(repr, _EFFORTS))}"
    if not isinstance(value, (bool, str)):
        raise TypeError(f"thinking must be {expected}, not {value!r:.80}")
    if isinstance(value, str) and value not in _EFFORTS:
        raise ValueError(f"thinking is {value!r:.80}: it must be {expected}")


def thinking_options(
    value: Thinking, tokenizer: Any, context: Callable[[Mapping[str, Any]], list[int]]
) -> dict[str, Any]:
    """Returns the options that turn the thoughts of a model on or off.

    A keyword counts if its two values give different texts.

    Args:
        value: Whether the model thinks, or how much.
        tokenizer: The tokenizer with the template.
        context: Lays a harmless question out with options, among them `SWITCH`.

    Raises:
        PromptError: The template has no such switch; the message says what fits.
        TypeError, ValueError: See `checked_thinking`.
    """
    checked_thinking(value)
    chat_template = str(tokenizer.chat_template)

    def rendered(options: Mapping[str, Any]) -> str | None:
        try:
            return str(tokenizer.decode(context(options)))
        except PromptError:
            return None

    switch = next(
        (
            (name, on, off)
            for name, on, off in _KEYWORDS
            if _named(name, chat_template) and rendered({name: on}) != rendered({name: off})
        ),
        None,
    )
    efforts = _efforts(chat_template, rendered)
    if isinstance(value, str) and value in efforts:
        return {_EFFORT: value} if switch is None else {_EFFORT: value, switch[0]: switch[1]}
    if isinstance(value, bool):
        if switch is not None:
            return {switch[0]: switch[1] if value else switch[2]}
        none = next((word for word in efforts if word in _NO_EFFORT), None)
        if none is not None:
            return {_EFFORT: ("high" if "high" in efforts else efforts[0]) if value else none}
        if value and (efforts or ThoughtReader.after(context({}), tokenizer).opened):
            return {}  # it always thinks
        on, off = _WORDS
        if on in chat_template and off in chat_template and rendered({SWITCH: on}) != rendered({SWITCH: off}):
            return {SWITCH: on if value else off}
    fits = [repr(word) for word in efforts if word in _EFFORTS] + ["True", "False"] * (switch is not None)
    if fits:
        remedy = f"thinking takes {', '.join(fits)} here"
    elif known_tags(tokenizer):
        remedy = "leave it out; max_thinking_tokens limits a thought"
    else:
        remedy = "leave it out; a switch of another name goes into chat_template_kwargs or a system message"
    raise PromptError(f"the model's chat template has no switch for thinking={value!r}: {remedy}")


def _named(name: str, chat_template: str) -> bool:
    return re.search(rf"(?<![\w.]){name}\b", chat_template) is not None


def _efforts(chat_template: str, rendered: Callable[[Mapping[str, Any]], str | None]) -> list[str]:
    """The efforts that a template writes down, or puts into its text as they are."""
    if not _named(_EFFORT, chat_template):
        return []
    free = _PROBE in (rendered({_EFFORT: _PROBE}) or "")
    texts = {
        word: rendered({_EFFORT: word})
        for word in (*_EFFORTS, *_NO_EFFORT)
        if (free and word in _EFFORTS) or re.search(rf"""{_EFFORT}[^%{{}}]*["']{word}["']""", chat_template)
    }
    return list(texts) if len(set(texts.values())) > 1 else []
