"""`Experiment`: one set of preferences, split once, and the systems built from the parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.duplicates import near_duplicates, same_group
from icdpo_chains.demonstrations.retriever import Retriever
from icdpo_chains.demonstrations.retrievers.catalog import RETRIEVERS
from icdpo_chains.demonstrations.retrievers.random import RandomRetriever
from icdpo_chains.demonstrations.retrievers.two_stage import TwoStageRetriever
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.evaluation.comparison.catalog import SYSTEM_ENTRIES
from icdpo_chains.evaluation.comparison.systems import (
    BestOfN,
    FewShot,
    ICDPOSystem,
    RewardAugmented,
    SelectedOfN,
    System,
    ZeroShot,
)
from icdpo_chains.evaluation.judges.reward_model import MIN_PAIRS, RewardModel
from icdpo_chains.evaluation.preferences import split
from icdpo_chains.foundation.validation import check_count
from icdpo_chains.icdpo import ICDPO
from icdpo_chains.policies.sampling import SamplingParams
from icdpo_chains.scoring import InstantScorer

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.embedding import Embedder
    from icdpo_chains.policies.transformers.policy import TransformersPolicy

__all__ = ["SYSTEMS", "VARIANTS", "Experiment", "Parts", "divide"]

SYSTEMS = tuple(SYSTEM_ENTRIES)
"""The compared systems by name."""

VARIANTS = ("k=1", "k=4", "source=starter set")
"""`icdpo_retrieved` with one setting changed; with random demonstrations it is `icdpo_upgraded`."""


@dataclass(frozen=True)
class Parts:
    """Split preferences; no two parts share a prompt or a near-duplicate.

    Attributes:
        demonstrations: the demonstrations to show, also the training data and the data of the picking reward
            model.
        judge: the data of the judging reward model only.
        prompts: the prompts to answer.
    """

    demonstrations: tuple[Demonstration, ...]
    judge: tuple[Demonstration, ...]
    prompts: tuple[Demonstration, ...]


def divide(rows: Sequence[Demonstration], prompts: int, *, seed: int = 0) -> Parts:
    """Splits preferences: prompts to answer; of the rest, three fifths to learn from, two to judge by.

    Args:
        rows: preference pairs.
        prompts: the number of held-out prompts to answer.
        seed: the seed of the draw.

    Raises:
        InvalidInputError: there are too few rows.
        TypeError, ValueError: `prompts` is not a whole number above 0.
    """
    check_count(prompts, "prompts", 1_000_000)
    rest = len(rows) - prompts
    fewest = 5 * MIN_PAIRS // 2
    if rest < fewest:
        raise InvalidInputError(
            f"{len(rows)} preferences can't hold out {prompts} prompts and leave {fewest} to learn from and "
            "to judge by: give more preferences, or answer fewer prompts"
        )
    parts = split(rows, {"prompts": prompts, "judge": 0.4 * rest, "demonstrations": 0.6 * rest}, seed=seed)
    return Parts(parts["demonstrations"], parts["judge"], parts["prompts"][:prompts])


class Experiment:
    """Builds the systems of a comparison; shared parts are built once, at their first use.

    Args:
        policy: the model.
        parts: the preferences.
        directory: contains the reward models and the adapter; existing ones are reused.
        n: the number of candidates of the selecting systems.
        k: the number of demonstrations shown.
        sampling: the sampling parameters of all systems.
        seed: the seed of all draws and of training.
        embedder: embeds the demonstrations; by default all-MiniLM-L6-v2.
        reward_pairs: the maximum number of pairs for fitting a reward model.
        sft_rows: the maximum number of demonstrations for training the adapter.
        on_work: receives a line about the work in progress.
    """

    def __init__(
        self,
        policy: TransformersPolicy,
        parts: Parts,
        directory: str | Path,
        *,
        n: int = 4,
        k: int = 2,
        sampling: SamplingParams | None = None,
        seed: int = 0,
        embedder: Embedder | None = None,
        reward_pairs: int = 300,
        sft_rows: int = 100,
        on_work: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.policy, self.parts, self.directory = policy, parts, Path(directory)
        self.n, self.k, self.seed = n, k, seed
        self.sampling = sampling or SamplingParams()
        self._embedder = embedder
        self._reward_pairs = check_count(reward_pairs, "reward_pairs", 10_000_000)
        self._sft_rows = check_count(sft_rows, "sft_rows", 10_000_000)
        self._on_work = on_work

    def system(self, name: str) -> System:
        """Builds a system, or a variant.

        Raises:
            ValueError: the name is unknown.
            ICDPOError: the system can't be built, for example without the extra `eval`.
        """
        if name in SYSTEM_ENTRIES:
            built: System = getattr(self, SYSTEM_ENTRIES[name].build)()
            return built
        factor, _, value = name.partition("=")
        if factor == "k" and value.isdecimal():
            return ICDPOSystem(self._icdpo_with(self._two_stage(), "rejected", "sum", k=int(value)))
        if name == "source=starter set":
            return ICDPOSystem(self._icdpo_with(self._starter(), "rejected", "sum"))
        raise ValueError(f"the system {name!r} is unknown: use {', '.join((*SYSTEMS, *VARIANTS))}")

    @cached_property
    def reward(self) -> RewardModel:
        """The picking reward model, fitted from the demonstrations."""
        return self._fitted("reward", self.parts.demonstrations)

    @cached_property
    def judge(self) -> RewardModel:
        """The judging reward model, fitted from rows that no system has seen."""
        return self._fitted("judge", self.parts.judge)

    @cached_property
    def _store(self) -> DemonstrationStore:
        self._on_work("embedding the demonstrations")
        store = DemonstrationStore.ephemeral(embedder=self._embedder)
        store.add(self.parts.demonstrations)
        return store

    def _fitted(self, name: Literal["reward", "judge"], rows: Sequence[Demonstration]) -> RewardModel:
        directory = self.directory / name
        rows = rows[: self._reward_pairs]
        if directory.exists():
            found = RewardModel.load(directory, self.policy)
            if found.trained_on != frozenset(row.id for row in rows):
                raise InvalidInputError(
                    f"the reward model in {directory} was fitted from other preferences: use the same files "
                    "and seed, or another directory"
                )
            return found
        called = f"reward model that {'judges' if name == 'judge' else 'picks'}"
        self._on_work(f"fitting the {called}")
        model = RewardModel.fit(self.policy, rows, seed=self.seed, name=called)
        model.save(directory)
        return model

    def _two_stage(self) -> Retriever:
        return TwoStageRetriever(self._store, k=self.k, require_rejected=True)

    def _random(self) -> Retriever:
        return RandomRetriever(self.parts.demonstrations, self.k, seed=self.seed)

    def _starter(self) -> Retriever:
        from icdpo_chains.demonstrations.starter import starter_demonstrations

        # If these prompts are from the starter set, the set must not reveal the answers.
        rows = (*starter_demonstrations(), *self.parts.prompts)
        near = same_group(rows, near_duplicates(rows))
        held_out = frozenset().union(*(near[prompt.id] for prompt in self.parts.prompts))
        store = DemonstrationStore.ephemeral(embedder=self._embedder)
        store.add(row for row in rows if row.id not in held_out)
        return TwoStageRetriever(store, k=self.k, require_rejected=True)

    def _icdpo_with(
        self,
        retriever: Retriever,
        against: Literal["rejected", "base"],
        aggregate: Literal["mean", "sum"],
        k: int | None = None,
    ) -> ICDPO:
        scorer = InstantScorer(against, aggregate)
        return ICDPO(self.policy, retriever, scorer, n=self.n, k=k or self.k, sampling=self.sampling)

    def _base(self) -> System:
        return ZeroShot(self.policy, self.sampling)

    def _sft_lora(self) -> System:
        from icdpo_chains.evaluation.comparison.fine_tuning import FineTuned, fine_tune, trainable_ids

        directory = self.directory / "sft_lora"
        rows = self.parts.demonstrations[: self._sft_rows]
        if directory.exists():
            tuned = FineTuned.load(directory, self.policy)
            if tuned.trained_on != trainable_ids(self.policy, rows):
                raise InvalidInputError(
                    f"the adapter in {directory} was trained on other demonstrations: use the same files, "
                    "seed and --sft-rows, or another directory"
                )
        else:
            self._on_work("fine-tuning")
            tuned = fine_tune(self.policy, rows, directory=directory, seed=self.seed)
        return ZeroShot(tuned.policy, self.sampling)

    def _best_of_n(self) -> System:
        return BestOfN(self.policy, self.sampling, self.reward, self.n)

    def _reward_decoding(self) -> System:
        from icdpo_chains.evaluation.comparison.reward_decoding import RewardDecoding

        return RewardAugmented(self.policy, self.sampling, RewardDecoding(self.policy, self.reward))

    def _few_shot(self) -> System:
        fixed = RETRIEVERS["fixed"](self._store, self.k, seed=self.seed)
        return FewShot(self._icdpo_with(fixed, "base", "sum"))

    def _icdpo(self) -> System:
        return ICDPOSystem(self._icdpo_with(self._random(), "base", "sum"))

    def _icdpo_upgraded(self) -> System:
        return ICDPOSystem(self._icdpo_with(self._random(), "rejected", "sum"))

    def _icdpo_retrieved(self) -> System:
        return ICDPOSystem(self._icdpo_with(self._two_stage(), "rejected", "sum"))

    def _random_of_n(self) -> System:
        return SelectedOfN.at_random(self._icdpo_with(self._two_stage(), "rejected", "sum"))

    def _oracle_of_n(self) -> System:
        return SelectedOfN.by(self.judge, self._icdpo_with(self._two_stage(), "rejected", "sum"))
