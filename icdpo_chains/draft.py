"""`Draft`: the unscored answers to a question, between sampling and scoring."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from icdpo_chains.demonstrations.retriever import RetrievedDemonstration
from icdpo_chains.policies.sampling import FinishReason
from icdpo_chains.prompts.contexts import Contexts
from icdpo_chains.result import Candidate, ICDPOResult, Usage
from icdpo_chains.scoring import Aggregate, InstantScorer

__all__ = ["Answer", "Draft"]


@dataclass(frozen=True)
class Answer:
    """An answer before scoring.

    Attributes:
        text: the answer, without the thought.
        token_ids: the tokens of thought and answer.
        logprobs: log pi(token | d+, x, earlier tokens), for each token.
        finish_reason: see `Candidate`.
        contrast_logprobs: the same in the scorer's other context, if already known.
        reasoning: the thought, without its tags; `None` for none.
        reasoning_tokens: the number of leading tokens of the thought, including its tags.
    """

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: FinishReason | None
    contrast_logprobs: tuple[float, ...] | None = None
    reasoning: str | None = None
    reasoning_tokens: int = 0

    def candidate(self, scorer: InstantScorer, contrast: Sequence[float], index: int) -> Candidate:
        """Returns the candidate; blank and rejected candidates can't win.

        Args:
            scorer: scores the answer's tokens, and the thought's tokens if it counts them.
            contrast: log pi of each of `token_ids` in the scorer's other context.
            index: the position among the candidates.
        """
        begin = 0 if scorer.count_reasoning else self.reasoning_tokens
        token_ids = self.token_ids[begin:]
        score = scorer.score(self.logprobs[begin:], contrast[begin:])
        can_win = self.text.strip() and self.finish_reason != "rejected"
        return Candidate(
            text=self.text,
            score=score.value if can_win else -math.inf,
            expert_logprob=score.expert_logprob,
            contrast_logprob=score.contrast_logprob,
            num_tokens=len(token_ids),
            token_ids=token_ids,
            token_scores=score.token_scores,
            finish_reason=self.finish_reason,
            index=index,
            reasoning=self.reasoning,
            reasoning_tokens=begin,
        )


@dataclass(frozen=True)
class Draft:
    """The unscored answers to one question, with everything that scoring needs.

    Attributes:
        contexts: the contexts of the question, as token ids.
        demonstrations: the demonstrations to show, best first.
        answers: the answers in the order of sampling, or as given.
        seed: the seed that reproduces the answers.
    """

    contexts: Contexts
    demonstrations: tuple[RetrievedDemonstration, ...]
    answers: tuple[Answer, ...]
    seed: int | None = None

    def with_contrast(self, known: Mapping[tuple[int, ...], tuple[float, ...]]) -> Draft:
        """Returns the draft with the contrast of answers that have none.

        Args:
            known: the log-probabilities in the scorer's other context, by the token ids of an answer.
        """
        answers = tuple(
            answer
            if answer.contrast_logprobs is not None
            else replace(answer, contrast_logprobs=known[answer.token_ids])
            for answer in self.answers
        )
        return replace(self, answers=answers)

    def result(
        self, candidates: Sequence[Candidate], seconds: float, *, model: str, aggregate: Aggregate
    ) -> ICDPOResult:
        """Returns the result.

        Args:
            candidates: the scored answers, best first.
            seconds: the duration of scoring.
            model: the policy's name.
            aggregate: the scorer's aggregate.
        """
        contexts, shown = self.contexts, len(self.contexts.used)
        return ICDPOResult(
            candidates=tuple(candidates),
            demonstrations=self.demonstrations[:shown],
            dropped=tuple(found.demonstration for found in self.demonstrations[shown:]),
            usage=Usage(
                prompt_tokens=len(contexts.chosen),
                contrast_tokens=len(contexts.contrast),
                completion_tokens=sum(len(answer.token_ids) for answer in self.answers),
            ),
            timings={"score": seconds},
            model=model,
            against="base" if contexts.rejected is None else "rejected",
            aggregate=aggregate,
            seed=self.seed,
        )
