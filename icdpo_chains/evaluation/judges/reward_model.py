"""`RewardModel`: a reward that is fitted from preferences."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.errors import DemonstrationError, ICDPOError, InvalidInputError, PolicyError
from icdpo_chains.evaluation.judges.answer_features import AnswerFeatures, Features
from icdpo_chains.messages import Conversation
from icdpo_chains.policies.transformers.policy import TransformersPolicy

__all__ = ["MIN_PAIRS", "RewardModel"]

MIN_PAIRS = 8
"""The fewest pairs to fit a reward model from."""

_FOLDS = 5
_STRENGTHS = tuple(10.0**power for power in range(-6, 2))
_WEIGHTS, _SETTINGS = "reward_model.safetensors", "reward_model.json"


class RewardModel:
    """A linear reward of an answer's hidden states (`AnswerFeatures`), fitted by Bradley and Terry's model.

    The difference of two rewards is the log-odds that the first answer is preferred to the second. The mean
    reward of the training answers is 0.

    Args:
        policy: its hidden states are read.
        weights: float32 [features].
        offset: the constant of the reward.
        name: names the reward in results.
        trained_on: the ids of the training demonstrations.
        max_context: see `AnswerFeatures`.
        skipped: how many demonstrations had no rejected answer.
        held_out_accuracy: of the cross-validation that chose the strength of the regularization.

    Raises:
        TypeError: the policy is not a `TransformersPolicy`.
        PolicyError: hidden states and weights differ in size.
    """

    def __init__(
        self,
        policy: TransformersPolicy,
        weights: Features,
        offset: float = 0.0,
        *,
        name: str = "reward",
        trained_on: frozenset[str] = frozenset(),
        max_context: int = 1024,
        skipped: int = 0,
        held_out_accuracy: float | None = None,
    ) -> None:
        self.policy = policy
        self.features = AnswerFeatures(policy, max_context)
        self.weights = np.asarray(weights, dtype=np.float32)
        self.offset = offset
        self.name = name
        self.trained_on = trained_on
        self.skipped = skipped
        self.held_out_accuracy = held_out_accuracy
        if self.weights.shape != (self.features.size,):
            raise PolicyError(
                f"the reward model has weights of shape {self.weights.shape}, and {policy.name} has "
                f"{self.features.size} features: use the policy that it was fitted with"
            )

    @classmethod
    def fit(
        cls,
        policy: TransformersPolicy,
        demonstrations: Sequence[Demonstration],
        *,
        seed: int = 0,
        name: str = "reward",
        max_context: int = 1024,
    ) -> RewardModel:
        """Fits a reward model by maximum likelihood, with L2 regularization chosen by cross-validation.

        Bradley and Terry's likelihood (Biometrika 39, 1952) is that of a logistic regression, without an
        intercept, on the differences of the two answers' features.

        Args:
            policy: its hidden states are read; it is not changed.
            demonstrations: pairs; demonstrations without a rejected answer are skipped.
            seed: of the cross-validation's folds.
            name: names the reward in results.
            max_context: the maximum number of tokens of conversation and answer.

        Raises:
            DemonstrationError: fewer than `MIN_PAIRS` demonstrations have a rejected answer.
            ICDPOError: scikit-learn is missing.
        """
        pairs = [demonstration for demonstration in demonstrations if demonstration.is_pair]
        if len(pairs) < MIN_PAIRS:
            raise DemonstrationError(
                f"{len(pairs)} of {len(demonstrations)} demonstrations have a rejected answer, and a reward "
                f"model is fitted from at least {MIN_PAIRS} such pairs: give more"
            )
        features = AnswerFeatures(policy, max_context)
        chosen, rejected = np.split(_read_pairs(features, pairs), 2)
        if not (np.isfinite(chosen).all() and np.isfinite(rejected).all()):
            raise PolicyError(
                f"hidden states of {policy.name} are not finite: its weights are broken, or its dtype "
                "overflows; load it with dtype='float32'"
            )
        differences = (chosen - rejected).astype(np.float64)
        scale = np.sqrt((differences**2).mean(axis=0))
        differences /= np.where(scale > 0, scale, 1)
        groups = [pair.prompt_text for pair in pairs]
        strength, accuracy = _cross_validated(differences, groups, seed)
        weights = _fitted(differences, strength) / np.where(scale > 0, scale, 1)
        return cls(
            policy,
            weights.astype(np.float32),
            -float(((chosen + rejected) / 2 @ weights).mean()),
            name=name,
            trained_on=frozenset(pair.id for pair in pairs),
            max_context=max_context,
            skipped=len(demonstrations) - len(pairs),
            held_out_accuracy=accuracy,
        )

    def rewards(self, conversations: Sequence[Conversation], responses: Sequence[str]) -> list[float]:
        """Returns the reward of each response to its conversation. See `AnswerFeatures.of`."""
        return self.rewards_of(self.features.of(conversations, responses))

    def rewards_of(self, features: Features) -> list[float]:
        """Returns the rewards of features [answers, size]."""
        rewards: list[float] = (features @ self.weights + self.offset).tolist()
        return rewards

    def accuracy(self, demonstrations: Sequence[Demonstration]) -> float:
        """Returns how often the chosen answer has the higher reward; a tie counts half.

        Raises:
            DemonstrationError: no demonstration has a rejected answer.
        """
        pairs = [demonstration for demonstration in demonstrations if demonstration.is_pair]
        if not pairs:
            raise DemonstrationError(
                f"none of {len(demonstrations)} demonstrations has a rejected answer, so that there is no "
                "preference to agree with: give pairs"
            )
        rewards = np.array(self.rewards_of(_read_pairs(self.features, pairs)))
        return _agreement(*np.split(rewards, 2))

    def save(self, directory: str | Path) -> None:
        """Writes the weights (safetensors) and the settings (JSON)."""
        from safetensors.numpy import save_file

        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        save_file({"weights": self.weights}, directory / _WEIGHTS)
        settings = {
            "policy": self.policy.name,
            "name": self.name,
            "offset": self.offset,
            "max_context": self.features.max_context,
            "skipped": self.skipped,
            "held_out_accuracy": self.held_out_accuracy,
            "trained_on": sorted(self.trained_on),
        }
        (directory / _SETTINGS).write_text(json.dumps(settings, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, directory: str | Path, policy: TransformersPolicy) -> RewardModel:
        """Reads the files of `save`.

        Raises:
            InvalidInputError: the directory has no reward model.
            PolicyError: the reward model was fitted with another model.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        directory = Path(directory)
        try:
            settings: dict[str, Any] = json.loads((directory / _SETTINGS).read_text(encoding="utf-8"))
            weights = load_file(directory / _WEIGHTS)["weights"]
            settings["trained_on"] = frozenset(settings["trained_on"])
            fitted_with = settings.pop("policy")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            raise InvalidInputError(
                f"{directory} has no reward model that can be read ({error!r:.200}): it should have "
                f"{_WEIGHTS} and {_SETTINGS}, as `save` writes them"
            ) from error
        if fitted_with != policy.name:
            raise PolicyError(
                f"the reward model in {directory} reads the hidden states of {fitted_with!r}, and was given "
                f"those of {policy.name!r}: load that model, or fit a reward model with this one"
            )
        return cls(policy, weights, settings.pop("offset"), **settings)


def _read_pairs(features: AnswerFeatures, pairs: Sequence[Demonstration]) -> Features:
    """The features of all chosen answers, then of all rejected ones."""
    answers = [pair.chosen or "" for pair in pairs] + [pair.rejected or "" for pair in pairs]
    return features.of([pair.messages for pair in pairs] * 2, answers, progress=True)


def _fitted(differences: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    try:
        from sklearn.linear_model import (
            LogisticRegression,
        )
    except ImportError as error:
        raise ICDPOError(
            'fitting a reward model needs scikit-learn: pip install "icdpo-chains[eval]"'
        ) from error

    # Each pair stands in both orders: scikit-learn needs two classes, and the optimum is the same.
    regression = LogisticRegression(C=strength, fit_intercept=False, max_iter=2000)
    regression.fit(np.concatenate([differences, -differences]), np.repeat([1, 0], len(differences)))
    weights: NDArray[np.float64] = regression.coef_[0]
    return weights


def _cross_validated(
    differences: NDArray[np.float64], groups: Sequence[str], seed: int
) -> tuple[float, float]:
    """Returns the strength with the highest held-out likelihood, and its held-out accuracy.

    Pairs of one prompt share a fold if there are enough prompts.
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    if numbers.max() + 1 < _FOLDS:
        numbers = np.arange(len(groups))
    folds = (np.random.default_rng(seed).permutation(numbers.max() + 1) % _FOLDS)[numbers]
    best = (np.inf, 0.0, 0.0)
    for strength in _STRENGTHS:
        margins = np.empty(len(differences))
        for fold in range(_FOLDS):
            weights = _fitted(differences[folds != fold], strength)
            margins[folds == fold] = differences[folds == fold] @ weights
        loss = float(np.logaddexp(0, -margins).mean())
        # In a tie, the stronger regularization wins.
        if loss < best[0]:
            best = (loss, strength, _agreement(margins, np.zeros_like(margins)))
    return best[1], best[2]


def _agreement(chosen: NDArray[np.floating[Any]], rejected: NDArray[np.floating[Any]]) -> float:
    return float(((chosen > rejected) + (chosen == rejected) / 2).mean())
