"""The results of the tools, with the descriptions for clients."""

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

_Score = Annotated[float | None, Field(description="Higher is better; null for a blank answer.")]


class AlignedAnswer(BaseModel):
    """The best candidate, and the details of its choice."""

    answer: str
    score: _Score
    scores: list[_Score] = Field(description="The scores of all candidates, best first.")
    demonstration_ids: list[str] = Field(description="The ids of the demonstrations shown, best first.")
    model: str
    seed: int | None = Field(description="The seed that reproduces the answer.")


class RankedAnswer(BaseModel):
    """One of the given answers."""

    answer: str
    score: _Score
    index: int = Field(description="Its position among the given answers, from 0.")


class RankedAnswers(BaseModel):
    """The given answers, best first."""

    answers: list[RankedAnswer]


class FoundDemonstration(BaseModel):
    """A stored demonstration."""

    id: str
    question: str
    chosen: str | None = Field(description="The better answer, if there is one.")
    rejected: str | None = Field(description="The worse answer, if there is one.")
    similarity: float = Field(description="Cosine between the question and the query, up to 1.")


class FoundDemonstrations(BaseModel):
    """Demonstrations, most similar first."""

    demonstrations: list[FoundDemonstration]


class AddedDemonstration(BaseModel):
    """The outcome of adding a demonstration."""

    id: str
    added: bool = Field(description="False if the store already had it.")
