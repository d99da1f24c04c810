"""`PairScorer`: scores how strongly each measure prefers the better answer of a pair."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.duplicates import near_duplicates, same_group
from icdpo_chains.demonstrations.retrievers.catalog import RETRIEVERS
from icdpo_chains.errors import ContextOverflowError, NoDemonstrationsError
from icdpo_chains.evaluation.accuracy.measures import ALONE, SCORERS, Setting
from icdpo_chains.policies.policy import BatchScoringPolicy, Policy, ScoreRequest, logprobs_of_all
from icdpo_chains.prompts.contexts import Contexts, Instructions, build_contexts
from icdpo_chains.prompts.formats import PromptFormat, prompt_format
from icdpo_chains.scoring import InstantScorer

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.store import DemonstrationStore

__all__ = ["PairMargins", "PairScorer", "right"]

_TOGETHER = 4  # pairs whose contexts are scored together; a search looks at the time between them


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


@dataclass(frozen=True)
class _Pair:
    """A pair laid out for the policy.

    Attributes:
        id: the id of the pair's demonstration.
        answers: the token ids of the chosen and of the rejected answer.
        contexts: the contexts by retriever and number of demonstrations.
    """

    id: str
    answers: Sequence[Sequence[int]]
    contexts: Mapping[tuple[str | None, int | None], Contexts]

    def needed(self, settings: Iterable[Setting]) -> list[tuple[int, ...]]:
        """Returns the contexts that the settings compare, each once."""
        return list(dict.fromkeys(side for setting in settings for side in self._sides(setting)))

    def result(
        self, read: Mapping[tuple[int, ...], list[list[float]]], settings: Collection[Setting]
    ) -> PairMargins:
        """Returns the margins.

        Args:
            read: the log-probabilities of both answers, by context.
            settings: the settings to compare.
        """
        return PairMargins(
            id=self.id,
            gap=len(self.answers[0]) - len(self.answers[1]),
            margins={setting: self._margin(setting, read) for setting in settings},
            shown={
                setting: len(self.contexts[setting.retriever, setting.k].used)
                for setting in settings
                if setting.retriever is not None
            },
        )

    def _sides(self, setting: Setting) -> tuple[tuple[int, ...], ...]:
        """The expert's context and, for an instant scorer, the contrast."""
        if setting.measure == "length":
            return ()
        found = self.contexts[setting.retriever, setting.k]
        if setting.measure in SCORERS:
            against = SCORERS[setting.measure].against
            return found.chosen, (found.rejected or ()) if against == "rejected" else found.base
        return (found.base if setting.measure in ALONE else found.chosen,)

    def _margin(self, setting: Setting, read: Mapping[tuple[int, ...], list[list[float]]]) -> float:
        sides = [read[context] for context in self._sides(setting)]
        if not sides:
            return float(len(self.answers[0]) - len(self.answers[1]))
        expert = sides[0]
        if len(sides) == 2:
            scorer, contrast = SCORERS[setting.measure], sides[1]
        else:
            scorer = InstantScorer("base", "sum" if setting.measure.endswith("sum") else "mean")
            contrast = [[0.0] * len(ids) for ids in expert]
        better, worse = (scorer.score(*both).value for both in zip(expert, contrast, strict=True))
        # Two answers that can't be scored are a tie; their difference would be NaN.
        return 0.0 if better == worse else better - worse


class PairScorer:
    """Scores pairs, each with demonstrations from the other rows (cross-validation).

    The near-duplicates of a pair are never shown with it. Each context is read once for a pair, for all
    settings together.

    Args:
        policy: the language model.
        rows: preference pairs, all with a rejected answer; they are scored, and serve as demonstrations.
        store: contains these rows and nothing else.
        retrievers: names in `RETRIEVERS`.
        seed: of the retrievers' draws.
        instructions: the instructions before chosen and before rejected answers.
        format: the prompt format; by default as in `ICDPO`.
        max_context: the maximum number of tokens of context and answer, up to the model's own limit.

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
        return self._margins([self._lay_out(row, settings)], settings)[0]

    def score_each(
        self, rows: Iterable[Demonstration], settings: Collection[Setting]
    ) -> Iterator[PairMargins | None]:
        """Yields the result for each row; `None` for a row that does not fit the model.

        A `BatchScoringPolicy` scores the contexts of several rows together.
        """
        together = _TOGETHER if isinstance(self.policy, BatchScoringPolicy) else 1
        waiting: list[_Pair | None] = []
        for row in rows:
            try:
                waiting.append(self._lay_out(row, settings))
            except ContextOverflowError:
                waiting.append(None)
            if len(waiting) == together:
                yield from self._in_order(waiting, settings)
                waiting = []
        yield from self._in_order(waiting, settings)

    def _in_order(
        self, pairs: Sequence[_Pair | None], settings: Collection[Setting]
    ) -> Iterator[PairMargins | None]:
        scored = iter(self._margins([pair for pair in pairs if pair is not None], settings))
        for pair in pairs:
            yield None if pair is None else next(scored)

    def _lay_out(self, row: Demonstration, settings: Collection[Setting]) -> _Pair:
        answers = [self._format.answer(text, ended=True) for text in (row.chosen or "", row.rejected or "")]
        budget = None if self.max_context is None else self.max_context - max(map(len, answers))
        keys = dict.fromkeys((setting.retriever, setting.k) for setting in settings)
        return _Pair(row.id, answers, {key: self._contexts(row, *key, budget) for key in keys})

    def _margins(self, pairs: Sequence[_Pair], settings: Collection[Setting]) -> list[PairMargins]:
        requests = [
            ScoreRequest(context, pair.answers) for pair in pairs for context in pair.needed(settings)
        ]
        found = iter(logprobs_of_all(self.policy, requests))
        results = []
        for pair in pairs:
            read = {context: next(found) for context in pair.needed(settings)}
            results.append(pair.result(read, settings))
        return results

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
