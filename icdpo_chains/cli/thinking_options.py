"""The options of models that think."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import typer

__all__ = ["CountReasoning", "ReasoningTags", "Thinking"]

CountReasoning: TypeAlias = Annotated[
    bool, typer.Option("--count-reasoning", help="Score a model's thought together with its answer.")
]


def _thinking(text: str) -> bool | str:
    return {"on": True, "off": False}.get(text, text)


Thinking: TypeAlias = Annotated[
    Any,
    typer.Option(
        parser=_thinking,
        metavar="on|off|low|medium|high",
        help="Whether the model thinks first, by the switch of its chat template.",
    ),
]
ReasoningTags: TypeAlias = Annotated[
    tuple[str, str] | None,
    typer.Option(
        metavar="OPENING CLOSING",
        help="The strings around the model's thoughts; by default those that its tokenizer knows.",
    ),
]
