"""`starter_demonstrations`: the demonstrations that come with the package."""

from __future__ import annotations

import importlib.resources
import json

from icdpo_chains.demonstrations.demonstration import Demonstration

__all__ = ["starter_demonstrations"]


def starter_demonstrations() -> list[Demonstration]:
    """Reads the starter set, which serves users without their own data.

    The demonstrations were written for this project and have its licence. Each has a rejected answer, and
    metadata with the `source`, the `topic` and the `behaviour`: `"helpful"`, `"harmless"`, `"honest"` or
    `"polite"`.

    Returns:
        A new list, always in the same order.
    """
    file = importlib.resources.files("icdpo_chains.demonstrations").joinpath("starter.jsonl")
    with file.open(encoding="utf-8") as lines:
        return [Demonstration.from_dict(json.loads(line)) for line in lines]
