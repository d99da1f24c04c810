"""`RuleAnswers`: the model's answers to one test prompt of a rule, with all scores of all candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from icdpo_chains.foundation.jsonl import json_safe

__all__ = ["AddedAnswers", "RuleAnswer", "RuleAnswers"]


@dataclass(frozen=True)
class RuleAnswer:
    """One answer of the model.

    Attributes:
        text: the answer.
        tokens: the number of sampled tokens.
        follows: whether the answer follows the rule.
        copying: share of the answer's word 4-grams that stand in a shown demonstration and not in the
            question; 0 to 1.
        content: cosine of the answer's and the reference's embedding; -1 to 1, 0 for a blank answer.
        scores: nats, by name of the score; `None` where the answer can't be scored. Empty for an answer
            without a score.
    """

    text: str
    tokens: int
    follows: bool
    copying: float
    content: float
    scores: Mapping[str, float | None]


@dataclass(frozen=True)
class AddedAnswers:
    """The output of one added stage for one test prompt: a line of its own in the file of answers.

    Attributes:
        rule: name of the rule.
        number: place of the prompt among the rule's test prompts.
        stage: name of the stage, see `STAGES`.
        answers: of the stage's system, one or several; empty for a stage that scores the n candidates.
        scores: one mapping for each of the n candidates; empty for a stage that answers.
        seconds: wall time of the stage for this prompt.
    """

    rule: str
    number: int
    stage: str
    answers: tuple[RuleAnswer, ...]
    scores: tuple[Mapping[str, float | None], ...]
    seconds: float

    @property
    def key(self) -> str:
        """Names the line in the file."""
        return f"{self.rule}/{self.number}/{self.stage}"

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values; `from_dict` reads them."""
        fields: dict[str, Any] = json_safe(asdict(self))
        return fields

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> AddedAnswers:
        """Builds the added answers from the values of `to_dict`."""
        return cls(
            rule=row["rule"],
            number=row["number"],
            stage=row["stage"],
            answers=tuple(RuleAnswer(**item) for item in row["answers"]),
            scores=tuple(row["scores"]),
            seconds=row["seconds"],
        )


@dataclass(frozen=True)
class RuleAnswers:
    """The answers to one test prompt: a line of the file, and the lines of the added stages.

    Attributes:
        rule: name of the rule.
        number: place of the prompt among the rule's test prompts.
        prompt: the question, as text.
        base: the greedy answer without demonstrations.
        few_shot: the greedy answer after the demonstrations.
        candidates: the n answers sampled after the demonstrations, in the order of sampling.
        seconds: wall time of each stage (`base`, `few_shot`, `candidates`, `score_base`,
            `score_rejected`, and the added stages), divided evenly among the questions of a batch.
        added: the answers of the added stages, by stage.
    """

    rule: str
    number: int
    prompt: str
    base: RuleAnswer
    few_shot: RuleAnswer
    candidates: tuple[RuleAnswer, ...]
    seconds: Mapping[str, float]
    added: Mapping[str, tuple[RuleAnswer, ...]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Names the line in the file."""
        return f"{self.rule}/{self.number}"

    def with_added(self, added: AddedAnswers) -> RuleAnswers:
        """Returns a copy that contains the answers, scores and seconds of an added stage."""
        candidates = self.candidates
        if added.scores:
            candidates = tuple(
                replace(candidate, scores={**candidate.scores, **scores})
                for candidate, scores in zip(candidates, added.scores, strict=True)
            )
        return replace(
            self,
            candidates=candidates,
            seconds={**self.seconds, added.stage: added.seconds},
            added={**self.added, added.stage: added.answers},
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the line of the file, without the added stages; `from_dict` reads it."""
        fields: dict[str, Any] = json_safe(asdict(self))
        del fields["added"]
        return fields

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> RuleAnswers:
        """Builds the answers from the values of `to_dict`."""
        return cls(
            rule=row["rule"],
            number=row["number"],
            prompt=row["prompt"],
            base=RuleAnswer(**row["base"]),
            few_shot=RuleAnswer(**row["few_shot"]),
            candidates=tuple(RuleAnswer(**item) for item in row["candidates"]),
            seconds=row["seconds"],
        )
