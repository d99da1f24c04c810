"""`answer_rules`: answers the test prompts of several rules into a file that a later run continues."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from icdpo_chains.demonstrations.embedding import Embedder
from icdpo_chains.demonstrations.retrievers.threshold import Threshold
from icdpo_chains.evaluation.rules.answers import AddedAnswers, RuleAnswers
from icdpo_chains.evaluation.rules.definitions.rule import Rule
from icdpo_chains.evaluation.rules.run import RuleQuestion, RuleRun
from icdpo_chains.evaluation.rules.stages import STAGES, Stage, check_stages, run_stage
from icdpo_chains.foundation.jsonl import ResumableFile
from icdpo_chains.policies.policy import Policy
from icdpo_chains.policies.sampling import SamplingParams

__all__ = ["answer_rules"]


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
    threshold: Threshold | None = None,
    batch: int = 4,
    stages: Sequence[str] = (),
    on_answers: Callable[[RuleAnswers], None] = lambda _: None,
) -> list[RuleAnswers]:
    """Answers the test prompts of several rules and keeps the answers in a file that a later run continues.

    A later run may name further rules, prompts and stages: only the answers that the file lacks are sampled.

    Args:
        rules: the rules.
        policy: the language model.
        embedder: see `RuleRun`.
        path: the file; it has a line for each test prompt, and one for each added stage of it. The file's
            directory gets the trained parts of the stages.
        settings: of the file; see `ResumableFile`.
        prompts: the number of test prompts for each rule.
        n: the number of candidates for each question.
        k: the number of demonstrations shown.
        sampling: how candidates are sampled.
        seed: makes the candidates reproducible.
        threshold: leaves out demonstrations that are unlike the question.
        batch: the number of questions answered together.
        stages: the added stages, by their names in `STAGES`.
        on_answers: called after each question, including questions that the file contains already.

    Returns:
        The answers, by rule and number.

    Raises:
        InvalidInputError: the file has different settings.
        ContextOverflowError: a prompt does not fit the model.
        ValueError: a stage is unknown.
        TypeError: a stage does not suit the policy.
    """
    check_stages(stages)
    found = []
    with ResumableFile(path, settings) as file:
        for rule in rules:
            numbers = range(min(prompts, len(rule.tests)))
            run = RuleRun(rule, policy, embedder, n=n, k=k, sampling=sampling, seed=seed, threshold=threshold)
            try:
                answering = _Answering(run, file, stages)
                for start in range(0, len(numbers), batch):
                    for answers in answering.answer(numbers[start : start + batch]):
                        found.append(answers)
                        on_answers(answers)
            finally:
                run.close()
    return found


class _Answering:
    """Answers the prompts of one rule as far as the file lacks them."""

    def __init__(self, run: RuleRun, file: ResumableFile, stages: Sequence[str]) -> None:
        self._run, self._file, self._names = run, file, stages
        self._stages: dict[str, Stage] = {}
        self._questions: dict[int, RuleQuestion] = {}

    def answer(self, numbers: Sequence[int]) -> list[RuleAnswers]:
        """Returns the answers to the prompts of these numbers."""
        missing = [number for number in numbers if self._key(number) not in self._file.records]
        if missing:
            for answers in self._run.answer(self._asked(missing)):
                self._file.append(answers.key, answers.to_dict())
        for name in self._names:
            lacking = [number for number in numbers if self._key(number, name) not in self._file.records]
            if lacking:
                if name not in self._stages:
                    self._stages[name] = STAGES[name](self._run, self._file.path.parent)
                known = [self._read(number) for number in lacking]
                for added in run_stage(name, self._stages[name], self._run, self._asked(lacking), known):
                    self._file.append(added.key, added.to_dict())
        self._questions.clear()
        return [self._read(number) for number in numbers]

    def _asked(self, numbers: Sequence[int]) -> list[RuleQuestion]:
        for number in numbers:
            if number not in self._questions:
                self._questions[number] = self._run.question(number)
        return [self._questions[number] for number in numbers]

    def _key(self, *parts: int | str) -> str:
        return "/".join(map(str, (self._run.rule.name, *parts)))

    def _read(self, number: int) -> RuleAnswers:
        """The answers of a file, with those of all stages that the file contains for the prompt."""
        records = self._file.records
        answers = RuleAnswers.from_dict(records[self._key(number)])
        for name in STAGES:
            if (key := self._key(number, name)) in records:
                answers = answers.with_added(AddedAnswers.from_dict(records[key]))
        return answers
