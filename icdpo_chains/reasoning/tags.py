"""`ReasoningTags`: the strings around a thinking model's thought."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

__all__ = ["KNOWN_TAGS", "THINK", "ReasoningTags", "as_tags", "known_tags"]


@dataclass(frozen=True)
class ReasoningTags:
    """The strings around a thought.

    Attributes:
        opening: the tag before the thought.
        closing: the tag between the thought and the answer.

    Raises:
        TypeError: a tag is not a string.
        ValueError: a tag is blank, or both are the same.
    """

    opening: str
    closing: str

    def __post_init__(self) -> None:
        for name in ("opening", "closing"):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise TypeError(f"the {name} tag must be a string, not {value!r:.80}")
            if not value.strip():
                raise ValueError(f"the {name} tag is {value!r}: give a tag such as '<think>'")
        if self.opening == self.closing:
            raise ValueError(
                f"both reasoning tags are {self.opening!r:.80}: give the tag before a thought, and the tag "
                "behind it"
            )


THINK = ReasoningTags("<think>", "</think>")
KNOWN_TAGS = (
    THINK,  # Qwen3, DeepSeek-R1, SmolLM3, GLM
    ReasoningTags("[THINK]", "[/THINK]"),  # Magistral
    ReasoningTags("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),  # gpt-oss
    ReasoningTags("<|channel>thought\n", "<channel|>"),  # Gemma 4
    ReasoningTags("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A Reasoning
    ReasoningTags("<seed:think>", "</seed:think>"),  # Seed-OSS
)
"""The tags of published models."""

_FORMS = 'a pair of tags such as ["<think>", "</think>"], or a list of pairs'


def known_tags(tokenizer: Any) -> tuple[ReasoningTags, ...]:
    """Returns the tags in a chat template or the added tokens; none for a model without thoughts.

    Args:
        tokenizer: a Hugging Face tokenizer.
    """
    template = getattr(tokenizer, "chat_template", None)
    texts = [str(template or ""), *map(str, getattr(tokenizer, "added_tokens_decoder", {}).values())]
    # The marks of a channel are separate tokens: a vocabulary contains only the first mark.
    marks = {tags: re.match(r"<[^>]*>|[^\n]*", tags.opening) for tags in KNOWN_TAGS}
    found = [tags for tags, mark in marks.items() if mark and any(mark[0] in text for text in texts)]
    return tuple(found)


def as_tags(given: object) -> tuple[ReasoningTags, ...]:
    """Returns tags that a user gave.

    Args:
        given: `ReasoningTags`, a pair of strings such as `["<think>", "</think>"]`, or a list of these.

    Raises:
        TypeError: the value has another form.
        ValueError: a tag is blank, both tags of a pair are the same, or there are none.
    """
    one = isinstance(given, ReasoningTags) or (_is_list(given) and all(isinstance(tag, str) for tag in given))
    found = [given] if one and given else given
    if not _is_list(found):
        raise TypeError(f"reasoning_tags must be {_FORMS}, not {given!r:.80}")
    if not found:
        raise ValueError(
            f"reasoning_tags is empty: give {_FORMS}, or leave it out for the tags of the tokenizer"
        )
    return tuple(each if isinstance(each, ReasoningTags) else _pair(each) for each in found)


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _pair(value: object) -> ReasoningTags:
    if not _is_list(value) or len(value) != 2:
        raise TypeError(f"reasoning_tags must be {_FORMS}, not a list with {value!r:.80}")
    return ReasoningTags(*value)
