"""`ICDPOResult` and `Candidate`: the results of ICDPO."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.retriever import RetrievedDemonstration
from icdpo_chains.errors import NoCandidateError
from icdpo_chains.foundation.jsonl import json_safe
from icdpo_chains.policies.sampling import FinishReason

__all__ = ["Candidate", "ICDPOResult", "Usage"]


@dataclass(frozen=True)
class Candidate:
    """One answer and its score.

    Attributes:
        text: the answer, without a thinking model's thought.
        score: higher is better; -infinity if the candidate was rejected or can't be scored: its text is
            blank, its thought is unfinished, or a log-probability is not finite. A finished thought is not
            scored, unless the scorer counts it.
        expert_logprob: log pi(y | d+, x), nats, summed over the tokens.
        contrast_logprob: the same in the scorer's other context.
        num_tokens: the number of scored tokens, with the end token if the answer ended by itself.
        token_ids: the scored tokens.
        token_scores: the share of each token in the score.
        finish_reason: `"stop"`, `"length"`, `"rejected"` (dropped by early rejection), or `None` for a given
            answer.
        index: the candidate's position in the order of sampling, or among the given answers.
        reasoning: the thought, without its tags; `None` for none.
        reasoning_tokens: the number of unscored tokens of the thought, including its tags.
    """

    text: str
    score: float
    expert_logprob: float
    contrast_logprob: float
    num_tokens: int
    token_ids: tuple[int, ...]
    token_scores: tuple[float, ...]
    finish_reason: FinishReason | None
    index: int
    reasoning: str | None = None
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """The number of tokens of thought and answer."""
        return self.reasoning_tokens + self.num_tokens

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values; a number that is not finite becomes `None`."""
        fields: dict[str, Any] = json_safe(asdict(self))
        return fields


@dataclass(frozen=True)
class Usage:
    """The numbers of tokens read and written; shared tokens count once.

    Attributes:
        prompt_tokens: the tokens of the sampling context.
        contrast_tokens: the tokens of the scorer's other context.
        completion_tokens: the tokens of all candidates together.
    """

    prompt_tokens: int
    contrast_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class ICDPOResult:
    """The best answer, with all candidates and their scores.

    Attributes:
        candidates: all candidates, best first.
        demonstrations: the demonstrations shown to the model, best first.
        dropped: the retrieved demonstrations that did not fit into the model's context, best first.
        usage: the numbers of tokens.
        timings: seconds by stage: `retrieve`, `sample`, `score`, `total`.
        model: the policy's name.
        against: the scorer's other side, `"rejected"` or `"base"`.
        aggregate: the scorer's aggregate of tokens.
        seed: the seed that reproduces the candidates.
    """

    candidates: tuple[Candidate, ...]
    demonstrations: tuple[RetrievedDemonstration, ...]
    dropped: tuple[Demonstration, ...]
    usage: Usage
    timings: Mapping[str, float]
    model: str
    against: str
    aggregate: str
    seed: int | None = field(default=None)

    @property
    def best(self) -> Candidate:
        """The candidate with the highest score."""
        return self.candidates[0]

    @property
    def text(self) -> str:
        """The text of the best candidate."""
        return self.best.text

    @property
    def paired(self) -> bool:
        """Whether the rejected answers belong to the same demonstrations as the chosen ones.

        False if chosen and rejected answers were retrieved separately, and in a comparison with the bare
        model.
        """
        return self.against == "rejected" and all(found.shown.is_pair for found in self.demonstrations)

    @property
    def scorer(self) -> dict[str, Any]:
        """The settings of the score, as JSON values."""
        return {"against": self.against, "aggregate": self.aggregate, "paired": self.paired}

    def checked(self) -> ICDPOResult:
        """Returns the result itself if it has an answer.

        Raises:
            NoCandidateError: no candidate can be scored.
        """
        if self.best.score == -math.inf:
            blank = [item for item in self.candidates if item.reasoning and not item.text]
            if any(item.finish_reason == "length" for item in blank):
                raise NoCandidateError(
                    "no candidate has an answer: the model was still thinking at the length limit. Allow "
                    "more tokens (max_tokens; in SamplingParams max_new_tokens), close long thoughts "
                    "(max_thinking_tokens), or turn thinking off"
                )
            if blank:
                raise NoCandidateError(
                    "no candidate has an answer after its thought: sample more (n), or turn thinking off"
                )
            raise NoCandidateError(
                "no candidate can be scored: each is blank, or its log-probabilities are not finite. Sample "
                "more (n), or longer ones (min_new_tokens), or load the model in float32"
            )
        return self

    def __str__(self) -> str:
        return self.text

    def score_table(self) -> dict[str, Any]:
        """Returns the candidates, best first, and the settings of the score, as JSON values.

        A short form of `to_dict` for an answer's metadata: without tokens, and with the ids of
        demonstrations.
        """
        shown = (
            "text",
            "score",
            "index",
            "expert_logprob",
            "contrast_logprob",
            "num_tokens",
            "finish_reason",
        )
        table: dict[str, Any] = json_safe(
            {
                "candidates": [{name: getattr(item, name) for name in shown} for item in self.candidates],
                "selected": self.best.index,
                "demonstrations": [found.demonstration.id for found in self.demonstrations],
                "dropped": [demonstration.id for demonstration in self.dropped],
                "scorer": self.scorer,
            }
        )
        return table

    def best_fitting(self, fitting: Callable[[Sequence[str]], Sequence[bool]]) -> Candidate:
        """Returns the best candidate that has a form, or the best of all if no candidate has it.

        Args:
            fitting: returns for each of several texts whether it has the form.
        """
        usable = [candidate for candidate in self.candidates if candidate.score > -math.inf]
        fits = fitting([candidate.text for candidate in usable])
        return next((item for item, has in zip(usable, fits, strict=True) if has), self.best)

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON values; a number that is not finite becomes `None`."""
        fields: dict[str, Any] = json_safe(
            {
                "text": self.text,
                "candidates": [candidate.to_dict() for candidate in self.candidates],
                "demonstrations": [
                    {
                        "id": found.demonstration.id,
                        "bm25_score": found.bm25_score,
                        "similarity": found.similarity,
                        "general": found.general,
                        "side": found.side,
                        **found.demonstration.to_dict(),
                    }
                    for found in self.demonstrations
                ],
                "dropped": [demonstration.id for demonstration in self.dropped],
                "usage": asdict(self.usage),
                "timings": dict(self.timings),
                "model": self.model,
                "scorer": self.scorer,
                "seed": self.seed,
            }
        )
        return fields
