"""`FIELDS`: the settings that a visitor may change, and their values in a form."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from icdpo_chains.config import ICDPOConfig, SamplingConfig
from icdpo_chains.demonstrations.retrievers.threshold import Substitute
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.policies.sampling import Decoding
from icdpo_chains.scoring import Against, Aggregate

if TYPE_CHECKING:
    from icdpo_chains.ui.backend import Backend

__all__ = ["CANDIDATES", "FIELDS", "FIXED", "LONGEST_ANSWER", "SCORER", "Field", "changes_of", "values_of"]

CANDIDATES, SCORER, LONGEST_ANSWER = "Candidates (n)", "Scorer", "Longest answer"
"""The labels of `n`, `against` and `max_tokens`, which errors name."""


@dataclass(frozen=True)
class Field:
    """One setting in the form.

    Attributes:
        name: The setting of `ICDPOConfig`.
        label: Its name in the form.
        info: What it does.
        kind: `"count"` and `"number"` are numbers; the others are choices.
        choices: The values of a choice.
        optional: Whether the field may be empty.
    """

    name: str
    label: str
    info: str
    kind: Literal["count", "number", "choice"]
    choices: tuple[str, ...] = ()
    optional: bool = False


FIELDS = (
    Field("n", CANDIDATES, "How many answers are sampled; the best is returned.", "count"),
    Field("k", "Demonstrations (k)", "How many demonstrations the model is shown.", "count"),
    Field(
        "against",
        SCORER,
        "The other side of the score: rejected answers, the bare model, or the one that the store supports.",
        "choice",
        get_args(Against),
    ),
    Field(
        "aggregate",
        "Aggregate",
        "The score summed over the answer, or per token.",
        "choice",
        get_args(Aggregate),
    ),
    Field("max_tokens", LONGEST_ANSWER, "In tokens.", "count"),
    Field("temperature", "Temperature", "0 always takes the likeliest token.", "number"),
    Field("top_p", "Top p", "Only the likeliest tokens up to this probability.", "number"),
    Field(
        "seed", "Seed", "Makes the answers reproducible; empty draws one each time.", "count", optional=True
    ),
    Field(
        "decoding",
        "Decoding",
        "guided: follow the demonstrations at each token.",
        "choice",
        get_args(Decoding),
    ),
    Field("guidance", "Guidance", "Of guided decoding: the weight, beta.", "number"),
    Field(
        "alpha", "Alpha", "Of guided decoding: tokens must reach this share of the top probability.", "number"
    ),
    Field(
        "max_thinking_tokens",
        "Longest thought",
        "Of a model that thinks, in tokens; empty sets no limit.",
        "count",
        optional=True,
    ),
    Field(
        "finalists",
        "Finalists",
        "Sample no more candidates than these to their end; empty samples all.",
        "count",
        optional=True,
    ),
    Field(
        "min_similarity",
        "Least similarity",
        "Demonstrations below this cosine to the question are not shown; empty shows all.",
        "number",
        optional=True,
    ),
    Field(
        "min_bm25",
        "Least BM25",
        "Demonstrations below this BM25 score are not shown; empty shows all.",
        "number",
        optional=True,
    ),
    Field(
        "substitute",
        "Substitute",
        "Shown if all demonstrations are below: a fixed few, or only the instructions.",
        "choice",
        get_args(Substitute),
    ),
)

FIXED = ("model", "engine", "adapter", "dtype", "device", "vllm", "store", "retriever")
"""The settings that only the server's start decides, in the order in which the page shows them."""


def values_of(config: ICDPOConfig) -> list[Any]:
    """Returns the values of `FIELDS`."""
    return [
        getattr(config.sampling if item.name in SamplingConfig.model_fields else config, item.name)
        for item in FIELDS
    ]


def changes_of(backend: Backend, values: Sequence[Any]) -> dict[str, Any]:
    """Returns the values of a form that differ from the server's settings.

    Args:
        backend: Has the server's settings and limits.
        values: The values of `FIELDS`, as a browser sends them.

    Raises:
        InvalidInputError: A value is out of range, or above a limit of the server.
    """
    given = {item.name: _typed(item, value) for item, value in zip(FIELDS, values, strict=True)}
    own = dict(zip((item.name for item in FIELDS), values_of(backend.settings), strict=True))
    changes: Mapping[str, Any] = {name: value for name, value in given.items() if value != own[name]}
    try:
        backend.configured(changes)
    except InvalidInputError as error:
        raise InvalidInputError(_labelled(str(error))) from None
    return dict(changes)


def _labelled(fault: str) -> str:
    """Returns a fault that begins with the name of a setting with the label of its field instead."""
    name, _, rest = fault.partition(" ")
    name = "max_tokens" if name == "max_new_tokens" else name  # the name in SamplingParams
    return f"{next((item.label for item in FIELDS if item.name == name), name)} {rest}"


def _typed(item: Field, value: Any) -> Any:
    if isinstance(value, str):
        value = value.strip()
    if value is None or value == "":
        if item.optional:
            return None
        raise InvalidInputError(f"{item.label} is empty: give a value")
    if item.kind == "choice":
        return value
    try:
        number = float("nan" if isinstance(value, bool) else value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidInputError(f"{item.label} is {value!r:.40}, and must be a number")
    if item.kind == "number":
        return number
    if not number.is_integer():
        raise InvalidInputError(f"{item.label} is {value!r:.40}, and must be a whole number")
    return int(value) if isinstance(value, str) and value.isdecimal() else int(number)
