"""How often bfloat16 picks another winner than float32, from the same candidates.

Candidates are sampled in bfloat16 for the prompts of the starter demonstrations (each of which is kept from
being shown for its own prompt), and ranked in both dtypes.

    python benchmarks/dtypes.py --questions 50
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from icdpo_chains import ICDPO, DemonstrationStore, SamplingParams, TransformersPolicy, TwoStageRetriever
from icdpo_chains.demonstrations.starter import starter_demonstrations
from icdpo_chains.draft import Draft


def main(
    questions: Annotated[int, typer.Option(help="How many questions.")] = 50,
    n: Annotated[int, typer.Option(help="Candidates of each.")] = 8,
    new_tokens: Annotated[int, typer.Option(help="Tokens of each, at most.")] = 64,
) -> None:
    """Prints how often the winner differs, and by how much scores do."""
    rows = list(starter_demonstrations())
    store = DemonstrationStore.ephemeral()
    store.add(rows)
    narrow, wide = (
        ICDPO(
            TransformersPolicy.from_pretrained(dtype=dtype),
            TwoStageRetriever(store, k=2),
            n=n,
            sampling=SamplingParams(max_new_tokens=new_tokens),
        )
        for dtype in ("bfloat16", "float32")
    )
    differing, lost, largest = 0, [0.0], 0.0
    for i, row in enumerate(track(rows[:questions])):
        found = narrow.retrieve(row.messages, exclude=[row.id])
        draft = narrow.sample(row.messages, found, seed=i)
        ranked = narrow.rank(draft)
        scores = {
            candidate.index: candidate.score for candidate in wide.rank(rescored(wide, draft)).candidates
        }
        largest = max(largest, *(abs(item.score - scores[item.index]) for item in ranked.candidates))
        best = max(scores.values())
        if scores[ranked.candidates[0].index] < best:
            differing += 1
            lost.append(best - scores[ranked.candidates[0].index])
    Console().print(
        f"{questions} questions, {n} candidates: bfloat16 picked another winner {differing} times, at a loss "
        f"in float32's score of {max(lost):.4f} at most; the largest difference of a score is {largest:.4f}"
    )


def rescored(icdpo: ICDPO, draft: Draft) -> Draft:
    """The draft with the expert's log-probabilities of another policy."""
    table = icdpo.policy.logprobs(draft.contexts.chosen, [answer.token_ids for answer in draft.answers])
    answers = (replace(answer, logprobs=tuple(row)) for answer, row in zip(draft.answers, table, strict=True))
    return replace(draft, answers=tuple(answers))


if __name__ == "__main__":
    typer.run(main)
