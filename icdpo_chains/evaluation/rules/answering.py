"""`RuleRun`: the model answers a rule's test prompts; the n samples are drawn once and scored in all ways."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.embedding import Embedder
from icdpo_chains.demonstrations.retrieval import TwoStageRetriever
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.evaluation.rules.answers import RuleAnswer, RuleAnswers
from icdpo_chains.evaluation.rules.checks import words
from icdpo_chains.evaluation.rules.rule import Rule, RuleCase
from icdpo_chains.jsonl import ResumableFile
from icdpo_chains.messages import search_text
from icdpo_chains.pipeline import Pipeline
from icdpo_chains.policies.policy import BatchPolicy, Policy
from icdpo_chains.policies.sampling import Sample, SampleRequest, SamplingParams
from icdpo_chains.prompts.contexts import Contexts
from icdpo_chains.scoring import Against, Aggregate, InstantScorer

__all__ = ["SCORES", "RuleRun", "answer_rules", "copying"]

SCORES: dict[str, tuple[Against, Aggregate]] = {
    "s_mean": ("base", "mean"),
    "s_sum": ("base", "sum"),
    "s_hat_mean": ("rejected", "mean"),
    "s_hat_sum": ("rejected", "sum"),
}
"""The instant scores of each candidate; `logprob`, the mean log-probability, is the other one."""


@dataclass(frozen=True)
class _Question:
    number: int
    case: RuleCase
    contexts: Contexts
    seed: int


class RuleRun:
    """Answers the test prompts of one rule.

    Args:
        rule: the rule; an ephemeral store holds its demonstrations.
        policy: the language model.
        embedder: embeds prompts for retrieval, and answers for the figure of kept content.
        n: candidates of each question.
        k: demonstrations shown.
        sampling: how candidates are sampled.
        seed: makes the candidates reproducible.
        clock: tells seconds.
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
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._rule, self._policy, self._embedder = rule, policy, embedder
        self._n, self._seed, self._clock = n, seed, clock
        self._store = DemonstrationStore.ephemeral(embedder=embedder)
        self._store.add(rule.demonstrations)
        self._pipeline = Pipeline(
            policy, TwoStageRetriever(self._store, k=k, require_rejected=True), n=n, sampling=sampling
        )

    def close(self) -> None:
        """Closes the store."""
        self._store.close()

    def answer(self, numbers: Sequence[int]) -> list[RuleAnswers]:
        """Answers test prompts together.

        Args:
            numbers: places among the rule's test prompts.

        Raises:
            ContextOverflowError: a prompt does not fit the model.
        """
        questions = [self._question(number) for number in numbers]
        seconds: dict[str, float] = {}
        greedy = replace(self._pipeline.sampling, temperature=0.0)
        base = self._timed(seconds, "base", self._sample, questions, "base", 1, greedy)
        few_shot = self._timed(seconds, "few_shot", self._sample, questions, "chosen", 1, greedy)
        sampling = self._pipeline.sampling
        drawn = self._timed(seconds, "candidates", self._sample, questions, "chosen", self._n, sampling)
        contrast = {
            "base": self._timed(
                seconds,
                "score_base",
                self._logprobs,
                [each.contexts.base for each in questions],
                drawn,
            ),
            "rejected": self._timed(
                seconds,
                "score_rejected",
                self._logprobs,
                [each.contexts.contrast for each in questions],
                drawn,
            ),
        }
        each_seconds = {name: value / len(questions) for name, value in seconds.items()}
        found = []
        for i, question in enumerate(questions):
            samples = [base[i][0], few_shot[i][0], *drawn[i]]
            content = self._content(question.case, [sample.text for sample in samples])
            scores: list[Mapping[str, float | None]] = [{}, {}]
            scores += [
                _scores(sample, {name: rows[i][j] for name, rows in contrast.items()})
                for j, sample in enumerate(drawn[i])
            ]
            answers = [
                RuleAnswer(
                    text=sample.text,
                    tokens=len(sample.token_ids),
                    follows=self._rule.check(question.case, sample.text),
                    copying=copying(sample.text, question.contexts.used, question.case.pair),
                    content=kept,
                    scores=scored,
                )
                for sample, kept, scored in zip(samples, content, scores, strict=True)
            ]
            found.append(
                RuleAnswers(
                    rule=self._rule.name,
                    number=question.number,
                    prompt=question.case.pair.prompt_text,
                    base=answers[0],
                    few_shot=answers[1],
                    candidates=tuple(answers[2:]),
                    seconds=each_seconds,
                )
            )
        return found

    def _question(self, number: int) -> _Question:
        case = self._rule.tests[number]
        shown = self._pipeline.retrieve(case.pair.messages)
        asked = self._pipeline.ask(case.pair.messages, shown, seed=self._seed + number)
        return _Question(number, case, asked.contexts, self._seed + number)

    def _timed(self, seconds: dict[str, float], name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        began = self._clock()
        result = work(*arguments)
        seconds[name] = self._clock() - began
        return result

    def _sample(
        self, questions: Sequence[_Question], context: str, n: int, sampling: SamplingParams
    ) -> list[list[Sample]]:
        stop = (*self._pipeline.format.stop, *sampling.stop)
        requests = [
            SampleRequest(getattr(each.contexts, context), n, replace(sampling, seed=each.seed, stop=stop))
            for each in questions
        ]
        if isinstance(self._policy, BatchPolicy):
            return self._policy.sample_batch(requests)
        return [self._policy.sample(each.context, each.n, each.sampling) for each in requests]

    def _logprobs(
        self, contexts: Sequence[Sequence[int]], drawn: Sequence[Sequence[Sample]]
    ) -> list[list[list[float]]]:
        rows = []
        for context, samples in zip(contexts, drawn, strict=True):
            unique = list(dict.fromkeys(sample.token_ids for sample in samples))
            known = dict(zip(unique, self._policy.logprobs(context, unique), strict=True))
            rows.append([known[sample.token_ids] for sample in samples])
        return rows

    def _content(self, case: RuleCase, texts: Sequence[str]) -> list[float]:
        written = [text for text in texts if text.strip()]
        vectors = self._embedder.embed([case.reference, *written])
        cosine = iter((vectors[1:] @ vectors[0]).tolist())
        return [float(next(cosine)) if text.strip() else 0.0 for text in texts]


def copying(answer: str, shown: Sequence[Demonstration], question: Demonstration) -> float:
    """Returns the share of an answer's word 4-grams that stand in a shown demonstration, not in the question.

    Args:
        answer: the answer.
        shown: the demonstrations; their prompts and chosen answers count.
        question: the pair whose prompt was asked.

    Returns:
        From 0 to 1; 0 for an answer of fewer than four words.
    """
    own = _fourgrams(answer)
    if not own:
        return 0.0
    asked = set(_fourgrams("\n".join(message.content for message in question.messages)))
    known: set[tuple[str, ...]] = set()
    for pair in shown:
        known.update(_fourgrams(search_text(pair.messages)), _fourgrams(pair.chosen))
    return sum(gram in known and gram not in asked for gram in own) / len(own)


def _fourgrams(text: str) -> list[tuple[str, ...]]:
    found = words(text)
    return [tuple(found[i : i + 4]) for i in range(len(found) - 3)]


def _scores(sample: Sample, contrast: Mapping[str, Sequence[float]]) -> dict[str, float | None]:
    mean = math.fsum(sample.logprobs) / max(1, len(sample.logprobs))
    scores = {"logprob": mean} | {
        name: InstantScorer(against, aggregate).score(sample.logprobs, contrast[against]).value
        for name, (against, aggregate) in SCORES.items()
    }
    can_win = bool(sample.text.strip())
    return {name: value if can_win and math.isfinite(value) else None for name, value in scores.items()}


def answer_rules(
    rules: Sequence[Rule],
    policy: Policy,
    embedder: Embedder,
    path: str | Path,
    settings: Mapping[str, Any],
    *,
    prompts: int,
    n: int,
    k: int,
    sampling: SamplingParams,
    seed: int = 0,
    batch: int = 4,
    on_answers: Callable[[RuleAnswers], None] = lambda _: None,
) -> list[RuleAnswers]:
    """Answers the test prompts of several rules and keeps the answers in a file that a later run continues.

    Args:
        rules: the rules.
        policy: the language model.
        embedder: see `RuleRun`.
        path: the file; it holds a line for each test prompt.
        settings: what the file was made with; see `ResumableFile`.
        prompts: test prompts of each rule.
        n: candidates of each question.
        k: demonstrations shown.
        sampling: how candidates are sampled.
        seed: makes the candidates reproducible.
        batch: questions answered together.
        on_answers: called after each question, also for a question that the file holds already.

    Returns:
        The answers, by rule and number.

    Raises:
        InvalidInputError: the file was made with other settings.
        ContextOverflowError: a prompt does not fit the model.
    """
    found: dict[str, RuleAnswers] = {}
    with ResumableFile(path, settings) as file:
        for rule in rules:
            keys = {f"{rule.name}/{number}": number for number in range(min(prompts, len(rule.tests)))}
            for key in keys.keys() & file.records.keys():
                found[key] = RuleAnswers.from_dict(file.records[key])
                on_answers(found[key])
            missing = [number for key, number in keys.items() if key not in found]
            if not missing:
                continue
            run = RuleRun(rule, policy, embedder, n=n, k=k, sampling=sampling, seed=seed)
            try:
                for start in range(0, len(missing), batch):
                    for answers in run.answer(missing[start : start + batch]):
                        file.append(answers.key, answers.to_dict())
                        found[answers.key] = answers
                        on_answers(answers)
            finally:
                run.close()
    return [
        found[f"{rule.name}/{number}"] for rule in rules for number in range(min(prompts, len(rule.tests)))
    ]
