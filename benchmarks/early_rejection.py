"""Early rejection against full best-of-n: how often the pick is the same, what is lost, what is saved.

Both sample the same candidates (the same seeds), for the prompts of the starter demonstrations, each of which
is kept from being shown for its own prompt. The loss is in the score by which the winner is picked.

    python benchmarks/early_rejection.py --questions 50 --n 16 --finalists 2
"""

from __future__ import annotations

import statistics
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from icdpo_chains import ICDPO, DemonstrationStore, SamplingParams, TransformersPolicy, TwoStageRetriever
from icdpo_chains.demonstrations.starter import starter_demonstrations


def main(
    questions: Annotated[int, typer.Option(help="How many questions.")] = 50,
    n: Annotated[int, typer.Option(help="Candidates of each.")] = 16,
    finalists: Annotated[list[int], typer.Option(help="May be given several times.")] = [2, 4],  # noqa: B006
    fewer: Annotated[int, typer.Option(help="Also compare with plain best of so many.")] = 6,
    new_tokens: Annotated[int, typer.Option(help="Tokens of each candidate, at most.")] = 128,
) -> None:
    """Prints a row for each way to answer."""
    rows = list(starter_demonstrations())
    store = DemonstrationStore.ephemeral()
    store.add(rows)
    loaded = TransformersPolicy.from_pretrained()
    # Without the prefix cache, from which whoever comes second would profit.
    policy = TransformersPolicy(loaded.model, loaded.tokenizer, loaded.name, prefix_cache=0)
    sampling = SamplingParams(max_new_tokens=new_tokens)
    icdpo = ICDPO(policy, TwoStageRetriever(store, k=2), n=n, sampling=sampling)
    ways: dict[str, dict[str, int]] = {f"best of {n}": {}, f"best of {fewer}": {"n": fewer}}
    ways |= {f"best of {n}, {count} finalists": {"finalists": count} for count in finalists}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    losses: dict[str, list[float]] = {name: [] for name in ways}  # of those questions with another pick
    for i, row in enumerate(track(rows[:questions])):
        scores: dict[int, float] = {}  # of all candidates, sampled to their ends
        for name, options in ways.items():
            began = time.perf_counter()
            result = icdpo.generate(row.messages, seed=i, exclude=[row.id], **options)
            seconds[name].append(time.perf_counter() - began)
            scores = scores or {candidate.index: candidate.score for candidate in result.candidates}
            best = max(scores, key=scores.__getitem__)
            if result.best.index != best:
                losses[name].append(scores[best] - scores[result.best.index])
    table = Table("", "seconds, mean", "same pick", "loss where it differs, mean", "largest loss")
    for name, lost in losses.items():
        table.add_row(
            name,
            f"{statistics.mean(seconds[name]):.2f}",
            f"{1 - len(lost) / len(seconds[name]):.0%}",
            f"{statistics.mean(lost):.3f}" if lost else "",
            f"{max(lost, default=0):.3f}",
        )
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
