"""`ReasoningTags`: the strings around a thinking model's thought."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

__all__ = ["KNOWN_TAGS", "THINK", "ReasoningTags", "known_tags"]


@dataclass(frozen=True)
class ReasoningTags:
    """The strings around a thought.

    Attributes:
        opening: the tag before the thought.
        closing: the tag between the thought and the answer.

    Raises:
        ValueError: a tag is blank.
    """

    opening: str
    closing: str

    def __post_init__(self) -> None:
        for name in ("opening", "closing"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name} is {getattr(self, name)!r}: give a tag such as '<think>'")


THINK = ReasoningTags("<think>", "</think>")
KNOWN_TAGS = (
    THINK,  # Qwen3, DeepSeek-R1, SmolLM3, GLM
    ReasoningTags("[THINK]", "[/THINK]"),  # Magistral
    ReasoningTags("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),  # gpt-oss
    ReasoningTags("<|channel>thought\n", "<channel|>"),  # Gemma 4
    ReasoningTags("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A Reasoning
    ReasoningTags("<seed:think>", "</seed:think>"),  # Seed-OSS
)


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
