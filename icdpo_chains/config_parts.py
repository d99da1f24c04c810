"""The parts of an `ICDPOConfig` that are objects of their own."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from icdpo_chains.policies.sampling import Decoding, SamplingParams
from icdpo_chains.prompts.contexts import Instructions
from icdpo_chains.reasoning.tags import ReasoningTags, as_tags

__all__ = ["STRICT", "InstructionsConfig", "SamplingConfig", "Tags"]

STRICT = ConfigDict(
    extra="forbid", strict=True, frozen=True, validate_default=False, hide_input_in_errors=True
)


class SamplingConfig(BaseModel):
    """How candidates are sampled, in the names that chat models use; see `SamplingParams`."""

    model_config = STRICT

    max_tokens: int = 128
    temperature: float = 1.0
    top_p: float = 0.8
    top_k: int | None = None
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    decoding: Decoding = "sample"
    guidance: float = 1.0
    alpha: float = 0.1
    max_thinking_tokens: int | None = None

    def params(self) -> SamplingParams:
        """Returns the core's parameters.

        Raises:
            TypeError, ValueError: A value is out of range.
        """
        fields = self.model_dump()
        return SamplingParams(max_new_tokens=fields.pop("max_tokens"), **fields)


class InstructionsConfig(BaseModel):
    """The texts before chosen and before rejected answers; see `Instructions`."""

    model_config = STRICT

    chosen: str = Instructions.chosen
    rejected: str = Instructions.rejected


def _tags(given: Any) -> Any:
    try:
        return None if given is None else as_tags(given)
    except TypeError as error:  # which pydantic would not report as a fault of the field
        raise ValueError(str(error)) from None


def _pairs(tags: tuple[ReasoningTags, ...] | None) -> list[tuple[str, str]] | None:
    return None if tags is None else [(each.opening, each.closing) for each in tags]


Tags: TypeAlias = Annotated[tuple[ReasoningTags, ...] | None, BeforeValidator(_tags), PlainSerializer(_pairs)]
"""The strings around thoughts: a pair such as `["<think>", "</think>"]`, or a list of pairs."""
