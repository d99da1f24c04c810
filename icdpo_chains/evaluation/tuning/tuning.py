"""`tune`: finds the best settings for a model and its preferences, within a budget of minutes."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from icdpo_chains.config import ICDPOConfig
from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.retriever import MAX_DEMONSTRATIONS
from icdpo_chains.demonstrations.retrievers.catalog import RETRIEVERS
from icdpo_chains.errors import DemonstrationError, InvalidInputError
from icdpo_chains.evaluation.accuracy.margins import PairScorer
from icdpo_chains.evaluation.accuracy.measures import SCORERS, Measure, Setting, settings_of
from icdpo_chains.evaluation.preferences import split
from icdpo_chains.evaluation.tuning.candidate_count import CountSearch, search_n
from icdpo_chains.evaluation.tuning.successive_halving import SettingSearch, search_setting
from icdpo_chains.foundation.validation import check_count
from icdpo_chains.icdpo import ICDPO
from icdpo_chains.policies.policy import Policy
from icdpo_chains.policies.sampling import MAX_CANDIDATES
from icdpo_chains.prompts.formats import prompt_format

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.embedding import Embedder
    from icdpo_chains.evaluation.judges.reward import Reward

__all__ = ["KS", "NS", "RETRIEVER_NAMES", "Tuning", "check", "tune"]

RETRIEVER_NAMES = ("two_stage", "fixed")
KS = (2, 4)
NS = (1, 2, 4, 8, 16)
"""The retrievers, numbers of demonstrations and numbers of candidates that are tried by default."""


FitReward = Callable[[Policy, Sequence[Demonstration], int], "Reward"]

_SETTING_TIME = 2 / 3
_PARTS = {"search": 0.5, "reward": 0.25, "prompts": 0.25}
_PARTS_WITH_REWARD = {"search": 0.6, "prompts": 0.4}
# Embedding and reading prompts may take a part of the time only: about 100 rows a second on two cores.
_ROWS_A_MINUTE = 200
_REWARD_ROWS_A_MINUTE, _FEWEST_REWARD_ROWS = 20, 16
_FEWEST_ROWS = 12


@dataclass(frozen=True)
class Tuning:
    """The result of the search.

    Attributes:
        base: the settings at the beginning.
        setting: the search of scorer, retriever and k.
        count: the search of n.
        note: the provenance: seed, minutes, rows, p-value.
    """

    base: ICDPOConfig
    setting: SettingSearch
    count: CountSearch
    note: Mapping[str, Any]

    @property
    def config(self) -> ICDPOConfig:
        """The settings of the result; their `note` contains the provenance."""
        chosen = self.setting.chosen
        scorer = SCORERS[chosen.measure]
        return self.base.changed(
            {
                "against": scorer.against,
                "aggregate": scorer.aggregate,
                "retriever": chosen.retriever,
                "k": chosen.k,
                "n": self.count.n,
                "note": {**self.base.note, **self.note},
            }
        )


def tune(
    policy: Policy,
    rows: Sequence[Demonstration],
    *,
    base: ICDPOConfig | None = None,
    minutes: float = 10,
    seed: int = 0,
    retrievers: Sequence[str] = RETRIEVER_NAMES,
    ks: Sequence[int] = KS,
    ns: Sequence[int] = NS,
    max_tokens: int = 64,
    max_context: int | None = 2048,
    embedder: Embedder | None = None,
    fit_reward: FitReward | None = None,
    reward: Reward | None = None,
    clock: Callable[[], float] = time.monotonic,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Tuning:
    """Searches scorer, retriever and k, then n.

    The rows are split in three, and near-duplicates stay together: pairs that compare settings and serve as
    demonstrations; pairs that fit a reward model; prompts to answer, where the reward model judges the
    answers. With a reward, no pairs fit a reward model. Two thirds of the time go to the comparison, the rest
    to n.

    Args:
        policy: the language model.
        rows: preference pairs.
        base: the settings to begin with; the search leaves the other settings alone.
        minutes: for the whole search; the time is checked between two pairs, and between four prompts.
        seed: of all random draws.
        retrievers: names in `RETRIEVERS` to try.
        ks: numbers of demonstrations to try.
        ns: numbers of candidates to try.
        max_tokens: the longest answer that is sampled to find n.
        max_context: the maximum number of tokens of context and answer.
        embedder: as for `DemonstrationStore`.
        fit_reward: fits the judge from policy, pairs and seed; by default `RewardModel.fit`.
        reward: the judge, in place of a fitted reward model; see `Check`.
        clock: returns seconds.
        on_progress: receives a line about the work in progress.

    Raises:
        InvalidInputError: too few pairs.
        ICDPOError: the extra `eval` is not installed.
        TypeError, ValueError: an argument that can't be used.
    """
    from icdpo_chains.demonstrations.store import DemonstrationStore

    base = base or ICDPOConfig()
    check(minutes, retrievers, ks, ns)
    rows = [row for row in rows if row.is_pair]
    if len(rows) < _FEWEST_ROWS:
        raise InvalidInputError(
            f"{len(rows)} preference pairs are too few to tune with: give at least {_FEWEST_ROWS}, better 200"
        )
    began, seconds = clock(), 60 * minutes
    most = max(_FEWEST_ROWS, int(_ROWS_A_MINUTE * minutes))
    if len(rows) > most:
        rows = random.Random(seed).sample(rows, most)  # noqa: S311
    parts = split(rows, _PARTS if reward is None else _PARTS_WITH_REWARD, seed=seed)
    default = Setting(_measure(base), base.retriever, base.k)
    instructions = base.build_instructions()
    with DemonstrationStore.ephemeral(embedder=embedder) as store:
        on_progress("Embedding the prompts ...")
        store.add(parts["search"])
        names = dict.fromkeys([base.retriever, *retrievers])
        scorer = PairScorer(
            policy,
            parts["search"],
            store,
            names,
            seed=seed,
            instructions=instructions,
            max_context=max_context,
            format=prompt_format(
                policy.tokenizer, policy.eos_token_ids, base.chat_template_kwargs, base.thinking
            ),
        )
        found = search_setting(
            scorer,
            parts["search"],
            settings_of(retrievers, ks, yardsticks=False),
            default,
            seconds=began + _SETTING_TIME * seconds - clock(),
            clock=clock,
            seed=seed,
            on_progress=on_progress,
        )
        chosen = found.chosen
        assert chosen.retriever is not None  # noqa: S101  # all settings of the search show demonstrations
        icdpo = ICDPO(
            policy,
            RETRIEVERS[chosen.retriever](store, chosen.k or 1, require_rejected=True, seed=seed),
            SCORERS[chosen.measure],
            k=chosen.k,
            sampling=replace(base.sampling.params(), max_new_tokens=max_tokens, seed=None),
            instructions=instructions,
            max_context=max_context,
            chat_template_kwargs=base.chat_template_kwargs,
            thinking=base.thinking,
            reasoning_tags=base.reasoning_tags,
        )
        until = began + seconds
        try:
            if clock() >= until:
                raise DemonstrationError("no time was left for it")
            if reward is None:
                on_progress("Fitting a reward model ...")
                most = max(_FEWEST_REWARD_ROWS, int(_REWARD_ROWS_A_MINUTE * minutes))
                reward = (fit_reward or _fit_reward)(policy, parts["reward"][:most], seed)
        except DemonstrationError as error:
            count = CountSearch(base.n, reason=f"unchanged: {error}")
        else:
            count = search_n(
                icdpo,
                parts["prompts"],
                reward,
                ns,
                default=base.n,
                until=until,
                clock=clock,
                seed=seed,
                on_progress=on_progress,
            )
    return Tuning(
        base, found, count, _note(found, count, len(rows), policy.name, minutes, clock() - began, seed)
    )


def check(minutes: float, retrievers: Sequence[str], ks: Sequence[int], ns: Sequence[int]) -> None:
    """Checks the arguments of `tune`, before anything is loaded.

    Raises:
        TypeError, ValueError: an argument that can't be used.
    """
    if not (minutes > 0 and math.isfinite(minutes)):
        raise ValueError(f"minutes is {minutes}, and must be a number above 0")
    unknown = [name for name in retrievers if name not in RETRIEVERS]
    if unknown:
        raise ValueError(f"the retriever {unknown[0]!r} is unknown: use {', '.join(RETRIEVERS)}")
    for name, values, largest in (("k", ks, MAX_DEMONSTRATIONS), ("n", ns, MAX_CANDIDATES)):
        for value in values:
            check_count(value, name, largest)
    if not (retrievers and ks and ns):
        raise ValueError("there is nothing to search: give at least one retriever, one k and one n")


def _measure(config: ICDPOConfig) -> Measure:
    return next(measure for measure, scorer in SCORERS.items() if scorer == config.build_scorer())


def _fit_reward(policy: Policy, rows: Sequence[Demonstration], seed: int) -> Reward:
    from icdpo_chains.evaluation.judges.reward_model import RewardModel

    return RewardModel.fit(policy, rows, seed=seed)  # type: ignore[arg-type]  # fit refuses another policy


def _note(
    found: SettingSearch, count: CountSearch, rows: int, model: str, minutes: float, seconds: float, seed: int
) -> dict[str, Any]:
    from icdpo_chains import __version__
    from icdpo_chains.foundation.jsonl import json_safe

    note: dict[str, Any] = json_safe(
        {
            "found_by": f"icdpo tune {__version__}",
            "model": model,
            "seed": seed,
            "minutes": minutes,
            "seconds_taken": round(seconds, 1),
            "rows": rows,
            "best": found.winner.label,
            "default": found.default.label,
            "is_better": found.is_better,
            "p_value": found.p_value,
            "pairs_searched": found.searched,
            "pairs_compared": found.compared,
            "best_accuracy": found.winner_accuracy.mean,
            "default_accuracy": found.default_accuracy.mean,
            "n": count.to_dict(),
        }
    )
    return note
