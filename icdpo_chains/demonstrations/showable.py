"""`showable`: the retrieved demonstrations that have an answer to show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from icdpo_chains.demonstrations.retriever import RetrievedDemonstration
from icdpo_chains.errors import NoDemonstrationsError

__all__ = ["compared_with", "showable"]


def showable(
    demonstrations: Sequence[RetrievedDemonstration], against: str, *, required: bool
) -> list[RetrievedDemonstration]:
    """Returns the demonstrations that have an answer for the contexts of the score.

    Args:
        demonstrations: the retrieved demonstrations, best first.
        against: see `InstantScorer`.
        required: whether a question without any chosen answer is an error.

    Raises:
        NoDemonstrationsError: `required`, and there is no chosen answer.
    """
    if not demonstrations and required:
        raise NoDemonstrationsError(
            "the retriever found no demonstration with a chosen answer, and ICDPO needs at least one: add "
            "some to the store (`icdpo import FILE`), or exclude fewer"
        )
    if demonstrations and all(found.shown.chosen is None for found in demonstrations):
        if not required:
            return []
        raise NoDemonstrationsError(
            "none of the demonstrations for this question has a chosen answer, and candidates are sampled "
            "after chosen answers: add some to the store (thumbs up, or pairs)"
        )
    if compared_with(against, demonstrations) == "rejected":
        return list(demonstrations)
    return [found for found in demonstrations if found.shown.chosen is not None]


def compared_with(
    against: str, demonstrations: Sequence[RetrievedDemonstration]
) -> Literal["rejected", "base"]:
    """Returns the other side of the score for a question; `"auto"` follows the demonstrations.

    Args:
        against: see `InstantScorer`.
        demonstrations: the demonstrations of the question.
    """
    if against == "auto":
        bare = demonstrations and all(found.shown.rejected is None for found in demonstrations)
        return "base" if bare else "rejected"
    return "base" if against == "base" else "rejected"
