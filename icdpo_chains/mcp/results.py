"""What the tools return, and how clients are told of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

__all__ = [
    "AddedDemonstration",
    "AlignedAnswer",
    "FoundDemonstration",
    "FoundDemonstrations",
    "RankedAnswer",
    "RankedAnswers",
]

_Score = Annotated[float | None, Field(description="Higher is better; null for an answer that is blank.")]


class AlignedAnswer(BaseModel):
    """The best candidate, and how it was found."""

    answer: str
    score: _Score
    scores: list[_Score] = Field(description="Those of all candidates, best first.")
    demonstration_ids: list[str] = Field(description="The demonstrations that were shown, best first.")
    model: str
    seed: int | None = Field(description="Gives the same answer again.")


class RankedAnswer(BaseModel):
    """One of the given answers."""

    answer: str
    score: _Score
    index: int = Field(description="Its place among the given answers, from 0.")


class RankedAnswers(BaseModel):
    """The given answers, best first."""

    answers: list[RankedAnswer]


class FoundDemonstration(BaseModel):
    """A demonstration that is kept."""

    id: str
    question: str
    chosen: str = Field(description="The better answer.")
    rejected: str | None = Field(description="The worse answer, where there is one.")
    similarity: float = Field(description="Cosine between the question and the query, up to 1.")


class FoundDemonstrations(BaseModel):
    """Demonstrations, most similar first."""

    demonstrations: list[FoundDemonstration]


class AddedDemonstration(BaseModel):
    """What became of a demonstration."""

    id: str
    added: bool = Field(description="False where it was known already.")
