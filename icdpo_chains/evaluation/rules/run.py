"""`RuleRun`: answers a rule's test prompts; the n samples are drawn once and scored in all ways."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from icdpo_chains.demonstrations.embedding import Embedder
from icdpo_chains.demonstrations.retrievers.threshold import Threshold
from icdpo_chains.demonstrations.retrievers.two_stage import TwoStageRetriever
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.evaluation.rules.answers import RuleAnswer, RuleAnswers
from icdpo_chains.evaluation.rules.copying import copying
from icdpo_chains.evaluation.rules.definitions.rule import Rule, RuleCase
from icdpo_chains.pipeline import Pipeline
from icdpo_chains.policies.policy import Policy, ScoreRequest, logprobs_of_all, sampled
from icdpo_chains.policies.sampling import Sample, SampleRequest, SamplingParams
from icdpo_chains.prompts.contexts import Contexts
from icdpo_chains.scoring import Against, Aggregate, InstantScorer

__all__ = ["SCORES", "RuleQuestion", "RuleRun", "candidate_scores"]

SCORES: dict[str, tuple[Against, Aggregate]] = {
    "s_mean": ("base", "mean"),
    "s_sum": ("base", "sum"),
    "s_hat_mean": ("rejected", "mean"),
    "s_hat_sum": ("rejected", "sum"),
}
"""The instant scores of each candidate; `logprob`, the mean log-probability, is the other score."""


@dataclass(frozen=True)
class RuleQuestion:
    """A test prompt, laid out for the policy.

    Attributes:
        number: place among the rule's test prompts.
        case: the prompt, its reference and its facts.
        contexts: with chosen answers, with rejected answers, without demonstrations.
        seed: the seed of the candidates.
    """

    number: int
    case: RuleCase
    contexts: Contexts
    seed: int


class RuleRun:
    """Answers the test prompts of one rule.

    Args:
        rule: the rule; an ephemeral store contains its demonstrations.
        policy: the language model.
        embedder: embeds prompts for retrieval, and answers for the figure of kept content.
        n: the number of candidates for each question.
        k: the number of demonstrations shown.
        sampling: how candidates are sampled.
        seed: makes the candidates reproducible.
        threshold: leaves out demonstrations that are unlike the question.
        clock: returns seconds.

    Attributes:
        rule: the rule.
        policy: the language model.
        n: the number of candidates for each question.
        sampling: how candidates are sampled, with the stop strings of the prompt format.
        seed: the seed of the run.
    """

    def __init__(
        self,
        rule: Rule,
        policy: Policy,
        embedder: Embedder,
        *,
        n: int,
        k: int,
        sampling: SamplingParams,
        seed: int,
        threshold: Threshold | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.rule, self.policy, self.n, self.seed = rule, policy, n, seed
        self._embedder, self._clock = embedder, clock
        self._store = DemonstrationStore.ephemeral(embedder=embedder)
        self._store.add(rule.demonstrations)
        threshold = threshold or Threshold()
        stages = TwoStageRetriever(self._store, k=k, require_rejected=True)
        self.pipeline = Pipeline(
            policy,
            threshold.applied(stages, self._store, k, require_rejected=True),
            n=n,
            sampling=sampling,
            demonstrations_required=threshold.leaves_some,
        )
        self.sampling = replace(sampling, stop=(*self.pipeline.format.stop, *sampling.stop))

    @property
    def greedy(self) -> SamplingParams:
        """The sampling parameters of systems with one answer."""
        return replace(self.sampling, temperature=0.0)

    def close(self) -> None:
        """Closes the store."""
        self._store.close()

    def question(self, number: int) -> RuleQuestion:
        """Retrieves demonstrations for a test prompt and lays it out.

        Args:
            number: place among the rule's test prompts.

        Raises:
            ContextOverflowError: the prompt does not fit the model.
        """
        case = self.rule.tests[number]
        shown = self.pipeline.retrieve(case.pair.messages)
        asked = self.pipeline.ask(case.pair.messages, shown, seed=self.seed + number)
        return RuleQuestion(number, case, asked.contexts, self.seed + number)

    def answer(self, questions: Sequence[RuleQuestion]) -> list[RuleAnswers]:
        """Answers test prompts together: greedily without and with demonstrations, and with n candidates."""
        seconds: dict[str, float] = {}
        base = self.timed(seconds, "base", self.sample, questions, "base", 1, self.greedy)
        few_shot = self.timed(seconds, "few_shot", self.sample, questions, "chosen", 1, self.greedy)
        drawn = self.timed(seconds, "candidates", self.sample, questions, "chosen", self.n, self.sampling)
        contrast = {
            "base": self.timed(seconds, "score_base", self.logprobs, questions, "base", drawn),
            "rejected": self.timed(seconds, "score_rejected", self.logprobs, questions, "contrast", drawn),
        }
        found = []
        for i, question in enumerate(questions):
            samples = [base[i][0], few_shot[i][0], *drawn[i]]
            scores: list[Mapping[str, float | None]] = [{}, {}]
            scores += [
                candidate_scores(sample, {name: rows[i][j] for name, rows in contrast.items()})
                for j, sample in enumerate(drawn[i])
            ]
            answers = self.judged(question, samples, scores)
            found.append(
                RuleAnswers(
                    rule=self.rule.name,
                    number=question.number,
                    prompt=question.case.pair.prompt_text,
                    base=answers[0],
                    few_shot=answers[1],
                    candidates=answers[2:],
                    seconds={name: value / len(questions) for name, value in seconds.items()},
                )
            )
        return found

    def timed(self, seconds: dict[str, float], name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """Returns the result of the work, and records its wall time under the name."""
        began = self._clock()
        result = work(*arguments)
        seconds[name] = self._clock() - began
        return result

    def sample(
        self,
        questions: Sequence[RuleQuestion],
        context: Literal["base", "chosen"],
        n: int,
        sampling: SamplingParams,
        policy: Policy | None = None,
    ) -> list[list[Sample]]:
        """Samples n answers of each question from one of its contexts.

        Args:
            questions: the questions.
            context: the name of the context.
            n: the number of answers to each question.
            sampling: the sampling parameters; the seed is the question's own.
            policy: replaces the run's policy.
        """
        policy = policy or self.policy
        requests = [
            SampleRequest(
                getattr(each.contexts, context),
                n,
                replace(sampling, seed=each.seed),
                contrast=each.contexts.contrast if sampling.guided else (),
            )
            for each in questions
        ]
        return sampled(policy, requests)

    def logprobs(
        self,
        questions: Sequence[RuleQuestion],
        context: Literal["base", "contrast"],
        drawn: Sequence[Sequence[Sample]],
    ) -> list[list[list[float]]]:
        """Returns the log-probabilities of each sample's tokens in one of its question's contexts."""
        unique = [list(dict.fromkeys(sample.token_ids for sample in samples)) for samples in drawn]
        requests = [
            ScoreRequest(getattr(question.contexts, context), ids)
            for question, ids in zip(questions, unique, strict=True)
        ]
        found = logprobs_of_all(self.policy, requests)
        known = [dict(zip(ids, rows, strict=True)) for ids, rows in zip(unique, found, strict=True)]
        return [
            [rows[sample.token_ids] for sample in samples] for rows, samples in zip(known, drawn, strict=True)
        ]

    def judged(
        self,
        question: RuleQuestion,
        samples: Sequence[Sample],
        scores: Sequence[Mapping[str, float | None]],
    ) -> tuple[RuleAnswer, ...]:
        """Checks samples against the rule, and measures copying and kept content.

        Args:
            question: the question.
            samples: the answers to the question.
            scores: the scores of each sample.
        """
        content = self._content(question.case, [sample.text for sample in samples])
        return tuple(
            RuleAnswer(
                text=sample.text,
                tokens=len(sample.token_ids),
                follows=self.rule.check(question.case, sample.text),
                copying=copying(sample.text, question.contexts.used, question.case.pair),
                content=kept,
                scores=scored,
            )
            for sample, kept, scored in zip(samples, content, scores, strict=True)
        )

    def _content(self, case: RuleCase, texts: Sequence[str]) -> list[float]:
        written = [text for text in texts if text.strip()]
        vectors = self._embedder.embed([case.reference, *written])
        cosine = iter((vectors[1:] @ vectors[0]).tolist())
        return [float(next(cosine)) if text.strip() else 0.0 for text in texts]


def candidate_scores(sample: Sample, contrast: Mapping[str, Sequence[float]]) -> dict[str, float | None]:
    """Returns the scores of a candidate; `None` for a blank candidate, or a score that is not finite.

    Args:
        sample: the candidate; its log-probabilities are the expert's.
        contrast: the log-probabilities in the other context, by the name of the context.
    """
    mean = math.fsum(sample.logprobs) / max(1, len(sample.logprobs))
    scores = {"logprob": mean} | {
        name: InstantScorer(against, aggregate).score(sample.logprobs, contrast[against]).value
        for name, (against, aggregate) in SCORES.items()
        if against in contrast
    }
    can_win = bool(sample.text.strip())
    return {name: value if can_win and math.isfinite(value) else None for name, value in scores.items()}
