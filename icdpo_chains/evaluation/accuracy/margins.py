"""`PairScorer`: scores how strongly each measure prefers the better answer of a pair."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.retrievers import RETRIEVERS
from icdpo_chains.errors import ContextOverflowError, NoDemonstrationsError
from icdpo_chains.evaluation.preferences import near_duplicates, same_group
from icdpo_chains.policies.policy import Policy
from icdpo_chains.prompts.contexts import Contexts, Instructions, build_contexts
from icdpo_chains.prompts.formats import PromptFormat, prompt_format
from icdpo_chains.scoring import InstantScorer

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.store import DemonstrationStore

__all__ = ["SCORERS", "Measure", "PairMargins", "PairScorer", "Setting", "right", "settings_of"]

Measure = Literal[
    "rejected_mean",
    "rejected_sum",
    "base_mean",
    "base_sum",
    "shown_mean",
    "shown_sum",
    "policy_mean",
    "policy_sum",
    "length",
]
"""`rejected_*` and `base_*` are the instant scorers. `shown_*` is the policy's own log-probability with the
demonstrations in context, and `policy_*` without them. `length` prefers the longer answer."""

SCORERS: Mapping[Measure, InstantScorer] = MappingProxyType(
    {
        "rejected_mean": InstantScorer("rejected", "mean"),
        "rejected_sum": InstantScorer("rejected", "sum"),
        "base_mean": InstantScorer("base", "mean"),
        "base_sum": InstantScorer("base", "sum"),
    }
)
_SHOWN: tuple[Measure, ...] = ("shown_mean", "shown_sum")
_ALONE: tuple[Measure, ...] = ("policy_mean", "policy_sum", "length")
_NAMES: Mapping[Measure, str] = {
    "rejected_mean": "S^ mean",
    "rejected_sum": "S^ sum",
    "base_mean": "S mean",
    "base_sum": "S sum",
    "shown_mean": "log-probability with demonstrations, mean",
    "shown_sum": "log-probability with demonstrations, sum",
    "policy_mean": "policy's own log-probability, mean",
    "policy_sum": "policy's own log-probability, sum",
    "length": "length: longer is better",
}


@dataclass(frozen=True)
class Setting:
    """One way to tell the better answer from the worse one.

    Attributes:
        measure: the figure that is compared.
        retriever: finds the demonstrations; `None` for a measure without demonstrations.
        k: how many demonstrations are shown; `None` for a measure without demonstrations.
    """

    measure: Measure
    retriever: str | None = None
    k: int | None = None

    @property
    def label(self) -> str:
        """The setting in tables and plots."""
        shown = "" if self.retriever is None else f", {self.retriever}, k = {self.k}"
        return f"{self.name}{shown}"

    @property
    def name(self) -> str:
        """The measure in words."""
        return _NAMES[self.measure]


def settings_of(
    retrievers: Iterable[str], ks: Iterable[int], *, yardsticks: bool = True
) -> tuple[Setting, ...]:
    """Returns every scorer with every retriever and k.

    Args:
        retrievers: names in `RETRIEVERS`.
        ks: numbers of demonstrations.
        yardsticks: whether to add the policy's log-probability, with and without demonstrations, and length.
    """
    retrievers, ks = tuple(dict.fromkeys(retrievers)), tuple(dict.fromkeys(ks))
    measures = (*SCORERS, *(_SHOWN if yardsticks else ()))
    shown = [Setting(measure, name, k) for measure in measures for name in retrievers for k in ks]
    return (*shown, *(map(Setting, _ALONE) if yardsticks else ()))


@dataclass(frozen=True)
class PairMargins:
    """The result for one pair.

    Attributes:
        id: of the pair's demonstration.
        gap: tokens of the chosen answer minus tokens of the rejected one.
        margins: the measure of the chosen answer minus that of the rejected one, by setting; right above 0.
        shown: how many demonstrations fit, by setting; settings without demonstrations are left out.
    """

    id: str
    gap: int
    margins: Mapping[Setting, float]
    shown: Mapping[Setting, int]


class PairScorer:
    """Scores pairs, each with demonstrations from the other rows (cross-validation).

    The near-duplicates of a pair are never shown with it. Each context is read once for a pair, for all
    settings together.

    Args:
        policy: the language model.
        rows: preference pairs, all with a rejected answer; they are scored, and serve as demonstrations.
        store: holds these rows and nothing else.
        retrievers: names in `RETRIEVERS`.
        seed: of the retrievers' draws.
        instructions: the instructions before chosen and before rejected answers.
        format: the prompt format; by default as in `ICDPO`.
        max_context: the most tokens of context and answer; the model's own limit holds as well.

    Attributes:
        max_context: the smaller of these two limits; `None` for no limit.
    """

    def __init__(
        self,
        policy: Policy,
        rows: Sequence[Demonstration],
        store: DemonstrationStore,
        retrievers: Collection[str],
        *,
        seed: int = 0,
        instructions: Instructions | None = None,
        format: PromptFormat | None = None,
        max_context: int | None = None,
    ) -> None:
        self.policy = policy
        self._near = same_group(rows, near_duplicates(rows))
        self._retrievers = {
            name: RETRIEVERS[name](store, 1, require_rejected=True, seed=seed) for name in retrievers
        }
        self._instructions = instructions or Instructions()
        self._format = format or prompt_format(policy.tokenizer, policy.eos_token_ids)
        limits = [limit for limit in (policy.max_context, max_context) if limit is not None]
        self.max_context = min(limits, default=None)

    def score(self, row: Demonstration, settings: Collection[Setting]) -> PairMargins:
        """Scores one pair.

        Args:
            row: one of the scorer's rows.
            settings: the settings to compare.

        Raises:
            ContextOverflowError: the pair does not fit, even without demonstrations.
            NoDemonstrationsError: all rows are near-duplicates of this one.
        """
        answers = [self._format.answer(text, ended=True) for text in (row.chosen or "", row.rejected or "")]
        lengths = [float(len(ids)) for ids in answers]
        budget = None if self.max_context is None else self.max_context - int(max(lengths))
        # All contexts come first: a pair that does not fit costs the model no time.
        contexts = {
            key: self._contexts(row, *key, budget)
            for key in dict.fromkeys((setting.retriever, setting.k) for setting in settings)
        }
        read: dict[tuple[int, ...], list[list[float]]] = {}

        def logprobs(context: tuple[int, ...]) -> list[list[float]]:
            if context not in read:
                read[context] = self.policy.logprobs(context, answers)
            return read[context]

        def margin(setting: Setting) -> float:
            if setting.measure == "length":
                return lengths[0] - lengths[1]
            found = contexts[setting.retriever, setting.k]
            if setting.measure in SCORERS:
                scorer = SCORERS[setting.measure]
                expert = logprobs(found.chosen)
                contrast = logprobs((found.rejected or ()) if scorer.against == "rejected" else found.base)
            else:
                scorer = InstantScorer("base", "sum" if setting.measure.endswith("sum") else "mean")
                expert = logprobs(found.base if setting.measure in _ALONE else found.chosen)
                contrast = [[0.0] * len(ids) for ids in expert]
            better, worse = (scorer.score(*sides).value for sides in zip(expert, contrast, strict=True))
            # Two answers that can't be scored are a tie; their difference would be NaN.
            return 0.0 if better == worse else better - worse

        return PairMargins(
            id=row.id,
            gap=int(lengths[0] - lengths[1]),
            margins={setting: margin(setting) for setting in settings},
            shown={
                setting: len(contexts[setting.retriever, setting.k].used)
                for setting in settings
                if setting.retriever is not None
            },
        )

    def score_each(
        self, rows: Iterable[Demonstration], settings: Collection[Setting]
    ) -> Iterator[PairMargins | None]:
        """Yields the result for each row; `None` for a row that does not fit the model."""
        for row in rows:
            try:
                yield self.score(row, settings)
            except ContextOverflowError:
                yield None

    def _contexts(self, row: Demonstration, name: str | None, k: int | None, budget: int | None) -> Contexts:
        if budget is not None and budget < 1:
            raise ContextOverflowError(f"an answer alone fills the {self.max_context} tokens of the context")
        shown: list[Demonstration] = []
        if name is not None:
            found = self._retrievers[name].retrieve(row.messages, k, exclude=self._near[row.id])
            shown = [item.demonstration for item in found]
            if not shown:
                raise NoDemonstrationsError(
                    "the prompts of all rows are nearly the same, so that none is left to show with another: "
                    "give rows with different prompts"
                )
        return build_contexts(
            self._format,
            row.messages,
            shown,
            self._instructions,
            with_rejected=name is not None,
            budget=budget,
        )


def right(margin: float) -> float:
    """Returns 1 for a pair that is ranked right, 0 for a pair ranked wrong, and 0.5 for a tie."""
    return 0.5 * (1 + math.copysign(1.0, margin) * (margin != 0))
