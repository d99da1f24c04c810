"""Preference accuracy with pairs, with thumbs that belong to no pair, and with thumbs up alone.

The pairs of a file are taken apart: by a draw, one half of the rows keeps the chosen answer as a thumb up,
and the other half keeps the rejected answer as a thumb down. Each question is scored with demonstrations from
the other rows; near-duplicates of the question are excluded.

    python benchmarks/unpaired.py icdpo_chains/demonstrations/starter.jsonl --pairs 60
"""

from __future__ import annotations

import json
import math
import random
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from icdpo_chains import (
    ICDPO,
    Demonstration,
    DemonstrationStore,
    InstantScorer,
    SentenceTransformerEmbedder,
    TransformersPolicy,
    TwoSidedRetriever,
    TwoStageRetriever,
)
from icdpo_chains.demonstrations.duplicates import near_duplicates, same_group
from icdpo_chains.errors import ContextOverflowError
from icdpo_chains.evaluation.accuracy.margins import right
from icdpo_chains.evaluation.preferences import read_preferences
from icdpo_chains.evaluation.statistics import bootstrap


def main(
    file: Annotated[Path, typer.Argument(help="Preference pairs.")],
    pairs: Annotated[int, typer.Option(help="The pairs that are scored.")] = 60,
    rows: Annotated[int, typer.Option(help="The rows that serve as demonstrations.")] = 400,
    k: Annotated[int, typer.Option(help="Demonstrations of each side.")] = 2,
    seed: int = 0,
) -> None:
    """Prints one line of JSON per kind of store and aggregate: accuracy in percent, with a 95 % interval."""
    draw = random.Random(seed)
    known = list(read_preferences([file]))
    known = draw.sample(known, min(rows, len(known)))
    near = same_group(known, near_duplicates(known))
    asked = draw.sample(known, min(pairs, len(known)))
    up = set(draw.sample(range(len(known)), len(known) // 2))
    # The halves have ids of their own: a row and its half are excluded together.
    apart = [
        Demonstration(row.prompt, row.chosen) if i in up else Demonstration(row.prompt, None, row.rejected)
        for i, row in enumerate(known)
    ]
    ups = [Demonstration(row.prompt, row.chosen) for row in known]
    policy, embedder = TransformersPolicy.from_pretrained(), SentenceTransformerEmbedder()
    for name, held in (("pairs", known), ("thumbs up and down", apart), ("thumbs up alone", ups)):
        half_of = dict(zip((row.id for row in known), (item.id for item in held), strict=True))
        margins: dict[str, list[float]] = {"mean": [], "sum": []}
        with DemonstrationStore.ephemeral(embedder=embedder) as store:
            store.add(held)
            retriever = TwoSidedRetriever(store, partial(TwoStageRetriever, store, k))
            icdpo = ICDPO(policy, retriever, InstantScorer("auto"))
            for row in asked:
                exclude = {half_of[id_] for id_ in near[row.id]}
                try:
                    result = icdpo.score(
                        row.messages, [row.chosen or "", row.rejected or ""], exclude=exclude
                    )
                except ContextOverflowError:
                    continue
                better, worse = sorted(result.candidates, key=lambda candidate: candidate.index)
                margins["mean"].append(right(better.score - worse.score))
                margins["sum"].append(right(math.fsum(better.token_scores) - math.fsum(worse.token_scores)))
        for aggregate, values in margins.items():
            found = bootstrap([100 * value for value in values], seed=seed)
            figures = {"low": found.low, "mean": sum(values) / len(values) * 100, "high": found.high}
            line = {"file": file.name, "store": name, "against": result.against, "aggregate": aggregate}
            print(json.dumps({**line, "pairs": len(values), **figures}), flush=True)


if __name__ == "__main__":
    typer.run(main)
