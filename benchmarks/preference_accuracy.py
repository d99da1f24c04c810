"""How often each scorer ranks the chosen answer above the rejected one: what the default scorer rests on.

Reads preference files, takes a random sample of pairs, shows the model demonstrations from the *other* rows
(two-stage retrieval; rows with the same prompt are left out), and scores both answers in all three contexts.
So one run compares all scorers on the same log-probabilities, next to two yardsticks: the policy's own mean
log-probability, and length alone.

    python benchmarks/preference_accuracy.py ../shared/data/hh_harmless_dev.jsonl.gz --pairs 300
"""

from __future__ import annotations

import itertools
import json
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from icdpo_chains.demonstrations.files import read_demonstrations
from icdpo_chains.demonstrations.retrieval import TwoStageRetriever
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import ContextOverflowError
from icdpo_chains.policies.transformers import TransformersPolicy
from icdpo_chains.prompts.contexts import Instructions, build_contexts
from icdpo_chains.prompts.formats import PlainFormat, prompt_format
from icdpo_chains.scoring import InstantScorer

Logprobs = dict[str, list[list[float]]]
"""By context (`chosen`, `rejected`, `base`): token log-probabilities of the better and the worse answer."""


def score_pair(pair: Logprobs, against: str, aggregate: str) -> tuple[float, float]:
    """The scores of the better and the worse answer."""
    scorer = InstantScorer(against, aggregate)  # type: ignore[arg-type]
    better, worse = (
        scorer.score(expert, contrast).value
        for expert, contrast in zip(pair["chosen"], pair[against], strict=True)
    )
    return better, worse


MEASURES: dict[str, Callable[[Logprobs], tuple[float, float]]] = {
    **{
        f"S^ {aggregate}" if against == "rejected" else f"S {aggregate}": (
            lambda pair, against=against, aggregate=aggregate: score_pair(pair, against, aggregate)
        )
        for against, aggregate in itertools.product(["rejected", "base"], ["mean", "sum"])
    },
    "policy's own mean log-probability": lambda pair: tuple(map(np.mean, pair["base"])),
    "with demonstrations, mean": lambda pair: tuple(map(np.mean, pair["chosen"])),
    "longer is better": lambda pair: tuple(map(len, pair["base"])),
}


def accuracy(
    pairs: list[Logprobs], measure: Callable[[Logprobs], tuple[float, float]]
) -> tuple[float, float, float]:
    """Share of pairs ranked right (a tie counts half), with a 95 % bootstrap interval."""
    right = np.array([0.5 * (1 + np.sign(better - worse)) for better, worse in map(measure, pairs)])
    draws = np.random.default_rng(0).choice(right, size=(4000, len(right))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(right.mean()), float(low), float(high)


def main(
    files: list[Path],
    pairs: Annotated[int, typer.Option(help="How many pairs of each file are scored.")] = 300,
    k: Annotated[int, typer.Option(help="Demonstrations shown.")] = 2,
    seed: Annotated[int, typer.Option(help="Which pairs.")] = 0,
    model: Annotated[str | None, typer.Option(help="A model in place of the default one.")] = None,
    plain: Annotated[bool, typer.Option(help="The plain format in place of the chat template.")] = False,
    max_context: Annotated[int, typer.Option(help="Longest context, in tokens.")] = 2048,
    chosen_instruction: Annotated[str | None, typer.Option(help="Another wording; '' for none.")] = None,
    rejected_instruction: Annotated[str | None, typer.Option(help="Another wording; '' for none.")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the figures there.")] = None,
) -> None:
    """Prints the preference accuracy of each scorer, by file."""
    policy = TransformersPolicy.from_pretrained(model)
    layout = PlainFormat(policy.tokenizer) if plain else prompt_format(policy.tokenizer, policy.eos_token_ids)
    default = Instructions()
    instructions = Instructions(
        default.chosen if chosen_instruction is None else chosen_instruction,
        default.rejected if rejected_instruction is None else rejected_instruction,
    )
    figures: dict[str, dict[str, tuple[float, float, float]]] = {}
    counts: dict[str, int] = {}
    for file in files:
        rows = [row for row in read_demonstrations(file, on_refused=lambda _: None) if row.rejected]
        same_prompt: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            same_prompt[row.prompt_text].append(row.id)
        store = DemonstrationStore.ephemeral()
        store.add(rows)
        retriever = TwoStageRetriever(store, k=k)
        scored: list[Logprobs] = []
        candidates = random.Random(seed).sample(rows, len(rows))
        for row in track(candidates, total=min(pairs, len(rows)), description=file.name):
            if len(scored) == pairs:
                break
            found = retriever.retrieve(row.messages, exclude=same_prompt[row.prompt_text])
            answers = [layout.answer(text, ended=True) for text in (row.chosen, row.rejected or "")]
            try:
                contexts = build_contexts(
                    layout,
                    row.messages,
                    [item.demonstration for item in found],
                    instructions,
                    with_rejected=True,
                    budget=max_context - max(map(len, answers)),
                )
            except ContextOverflowError:
                continue
            sides = {"chosen": contexts.chosen, "rejected": contexts.rejected or (), "base": contexts.base}
            scored.append({name: policy.logprobs(context, answers) for name, context in sides.items()})
        counts[file.name] = len(scored)
        figures[file.name] = {name: accuracy(scored, measure) for name, measure in MEASURES.items()}
        if json_path is not None:  # after each file: a run takes half an hour
            json_path.write_text(json.dumps({"model": policy.name, "k": k, "figures": figures}, indent=2))
    table = Table("scorer", *(f"{name} ({counts[name]} pairs)" for name in figures))
    for name in MEASURES:
        cells = (figures[file][name] for file in figures)
        table.add_row(name, *(f"{mid:.1%} ({low:.1%} to {high:.1%})" for mid, low, high in cells))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
