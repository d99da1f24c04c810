"""`STAGES`: further systems of the rules; each adds its answers to an existing file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.evaluation.comparison.reward_decoding import RewardDecoding
from icdpo_chains.evaluation.judges.reward_model import RewardModel
from icdpo_chains.evaluation.rules.answers import AddedAnswers, RuleAnswers
from icdpo_chains.evaluation.rules.run import RuleQuestion, RuleRun, candidate_scores
from icdpo_chains.policies.policy import Policy
from icdpo_chains.policies.sampling import FinishReason, Sample, SamplingParams
from icdpo_chains.policies.transformers.policy import TransformersPolicy

__all__ = ["DEFAULT_STAGES", "STAGES", "Stage", "StageOutput", "check_stages", "run_stage"]

_EPOCHS = 5
"""The fine-tuning: 25 steps of 4 pairs for the 20 pairs of a rule."""

Scores = Mapping[str, float | None]


@dataclass(frozen=True)
class StageOutput:
    """The output of a stage for one test prompt.

    Attributes:
        samples: the answers of the stage's system.
        scores: the scores of each sample.
        candidate_scores: the scores of the n candidates in the file.
    """

    samples: Sequence[Sample] = ()
    scores: Sequence[Scores] = ()
    candidate_scores: Sequence[Scores] = ()


class Stage(Protocol):
    """A further system of the rules, for one rule. Training happens when the stage is built."""

    def answer(
        self, questions: Sequence[RuleQuestion], known: Sequence[RuleAnswers]
    ) -> Sequence[StageOutput]:
        """Answers test prompts together, or scores their n candidates.

        Args:
            questions: the test prompts.
            known: the answers to each test prompt so far.
        """
        ...


def run_stage(
    name: str, stage: Stage, run: RuleRun, questions: Sequence[RuleQuestion], known: Sequence[RuleAnswers]
) -> list[AddedAnswers]:
    """Returns the checked answers and the scores of a stage, one entry for each test prompt.

    Args:
        name: the stage's name.
        stage: the stage, for the same rule as the run.
        run: the run of the rule.
        questions: the test prompts.
        known: the answers to each test prompt so far.
    """
    seconds: dict[str, float] = {}
    outputs: Sequence[StageOutput] = run.timed(seconds, name, stage.answer, questions, known)
    return [
        AddedAnswers(
            rule=run.rule.name,
            number=question.number,
            stage=name,
            answers=run.judged(question, output.samples, output.scores),
            scores=tuple(output.candidate_scores),
            seconds=seconds[name] / len(questions),
        )
        for question, output in zip(questions, outputs, strict=True)
    ]


class Guided:
    """One greedy answer by guided decoding: the contrast of chosen and rejected answers at each token.

    Args:
        run: the run of the rule.
        directory: not used.
    """

    def __init__(self, run: RuleRun, directory: Path) -> None:
        self._run = run

    def answer(
        self, questions: Sequence[RuleQuestion], known: Sequence[RuleAnswers]
    ) -> Sequence[StageOutput]:
        """See `Stage.answer`."""
        return self._guided(questions, 1, self._run.greedy)

    def _guided(
        self, questions: Sequence[RuleQuestion], n: int, sampling: SamplingParams
    ) -> Sequence[StageOutput]:
        drawn = self._run.sample(questions, "chosen", n, replace(sampling, decoding="guided"))
        # The policy reads both contexts at each step: the score costs nothing more.
        return [
            StageOutput(
                samples,
                [candidate_scores(item, {"rejected": item.contrast_logprobs or ()}) for item in samples],
            )
            for samples in drawn
        ]


class GuidedOfN(Guided):
    """n answers by guided decoding, each with its S^."""

    def answer(
        self, questions: Sequence[RuleQuestion], known: Sequence[RuleAnswers]
    ) -> Sequence[StageOutput]:
        """See `Stage.answer`."""
        return self._guided(questions, self._run.n, self._run.sampling)


class BestOfN:
    """Scores the n candidates by a reward model that is fitted from the rule's demonstrations.

    Args:
        run: the run of the rule.
        directory: not used.
    """

    def __init__(self, run: RuleRun, directory: Path) -> None:
        self._reward = RewardModel.fit(_transformers(run.policy), run.rule.demonstrations, seed=run.seed)

    def answer(
        self, questions: Sequence[RuleQuestion], known: Sequence[RuleAnswers]
    ) -> Sequence[StageOutput]:
        """See `Stage.answer`."""
        outputs = []
        for question, answers in zip(questions, known, strict=True):
            texts = [candidate.text for candidate in answers.candidates]
            rewards = self._reward.rewards([question.case.pair.messages] * len(texts), texts)
            scores = [
                {"reward": reward if text.strip() else None}
                for text, reward in zip(texts, rewards, strict=True)
            ]
            outputs.append(StageOutput(candidate_scores=scores))
        return outputs


class RewardDecoded:
    """Greedy reward-augmented decoding without demonstrations, by the reward model of `BestOfN`.

    Args:
        run: the run of the rule.
        directory: not used.
    """

    def __init__(self, run: RuleRun, directory: Path) -> None:
        policy = _transformers(run.policy)
        reward = RewardModel.fit(policy, run.rule.demonstrations, seed=run.seed)
        self._decoding, self._run = RewardDecoding(policy, reward), run

    def answer(
        self, questions: Sequence[RuleQuestion], known: Sequence[RuleAnswers]
    ) -> Sequence[StageOutput]:
        """See `Stage.answer`."""
        outputs = []
        for question in questions:
            ids, text = self._decoding.generate(question.contexts.base, self._run.greedy, question.seed)
            finish: FinishReason = "length" if len(ids) == self._run.sampling.max_new_tokens else "stop"
            outputs.append(StageOutput([Sample(ids, (), text, finish)], [{}]))
        return outputs


class FineTunedAnswer:
    """Greedy answers without demonstrations of a policy that is fine-tuned on the rule's demonstrations.

    Args:
        run: the run of the rule.
        directory: the directory of the run; it keeps the adapter for later runs.

    Raises:
        InvalidInputError: the directory contains an adapter trained on other demonstrations.
        ICDPOError: peft is not installed.
    """

    def __init__(self, run: RuleRun, directory: Path) -> None:
        from icdpo_chains.evaluation.comparison.fine_tuning import FineTuned, fine_tune, trainable_ids

        self._run, rows = run, run.rule.demonstrations
        policy, place = _transformers(run.policy), directory / "sft_lora" / run.rule.name
        if place.exists():
            tuned = FineTuned.load(place, policy)
            if tuned.trained_on != trainable_ids(policy, rows):
                raise InvalidInputError(
                    f"the adapter in {place} was trained on other demonstrations: remove the directory"
                )
        else:
            tuned = fine_tune(policy, rows, directory=place, epochs=_EPOCHS, seed=run.seed)
        self._policy = tuned.policy

    def answer(
        self, questions: Sequence[RuleQuestion], known: Sequence[RuleAnswers]
    ) -> Sequence[StageOutput]:
        """See `Stage.answer`."""
        drawn = self._run.sample(questions, "base", 1, self._run.greedy, self._policy)
        return [StageOutput(samples, [{}]) for samples in drawn]


def _transformers(policy: Policy) -> TransformersPolicy:
    if not isinstance(policy, TransformersPolicy):
        raise TypeError(
            f"a {type(policy).__name__} has neither hidden states to fit a reward model from nor weights to "
            "fine-tune: use a TransformersPolicy, or leave out best_of_n, reward_decoding and sft_lora"
        )
    return policy


STAGES: Mapping[str, Callable[[RuleRun, Path], Stage]] = MappingProxyType(
    {
        "guided": Guided,
        "guided_of_n": GuidedOfN,
        "best_of_n": BestOfN,
        "reward_decoding": RewardDecoded,
        "sft_lora": FineTunedAnswer,
    }
)
"""Builds each stage for one rule, given the directory of the run."""

DEFAULT_STAGES = ("guided", "best_of_n")
"""The stages of a run that names none: those that cost less than the n candidates."""


def check_stages(names: Sequence[str]) -> Sequence[str]:
    """Returns the names if all of them are stages.

    Raises:
        ValueError: a name is unknown.
    """
    unknown = [name for name in names if name not in STAGES]
    if unknown:
        raise ValueError(f"the system {unknown[0]!r} is unknown: use {', '.join(STAGES)}")
    return names
