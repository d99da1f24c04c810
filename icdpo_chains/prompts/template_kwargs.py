"""Keywords that users give to a chat template, such as `enable_thinking=False`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from icdpo_chains.errors import PromptError

__all__ = ["checked_kwargs"]

_OURS = (
    "add_generation_prompt",
    "chat_template",
    "conversation",
    "messages",
    "return_dict",
    "tokenize",
    "tokenizer_kwargs",
    "tools",
)
_SYNONYMS = {"enable_thinking": "thinking", "thinking": "enable_thinking"}
"""Qwen3, SmolLM3 and GLM have the one, Granite and DeepSeek V3.1 the other."""


def checked_kwargs(given: Mapping[str, Any], chat_template: object) -> dict[str, Any]:
    """Returns keywords under the names that a chat template knows.

    Args:
        given: the keywords. `thinking` and `enable_thinking` stand for each other. The prompt format itself
            carries out `continue_final_message`.
        chat_template: the source of the template.

    Raises:
        PromptError: the template knows no keyword of this name, which would have no effect.
        TypeError: the keywords are not a mapping of names.
    """
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise TypeError(f"chat_template_kwargs must be a mapping of names to values, not {given!r:.80}")
    return {_known(name, str(chat_template)): value for name, value in given.items()}


def _known(name: str, chat_template: str) -> str:
    if name == "continue_final_message":
        return name
    if name in _OURS:
        raise PromptError(f"chat_template_kwargs can't hold {name!r}, which the prompt format sets itself")
    for each in (name, _SYNONYMS.get(name)):
        if each and re.search(rf"(?<![\w.]){re.escape(each)}\b", chat_template):
            return each
    raise PromptError(
        f"the model's chat template has no keyword {name!r}, which would have no effect: leave it out of "
        "chat_template_kwargs, or look into tokenizer.chat_template for the right name"
    )
