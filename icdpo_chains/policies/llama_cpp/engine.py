"""`LlamaEngine`: samples and scores continuations; reads each context once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import CancelledError
from contextlib import closing
from typing import Any

import torch

from icdpo_chains.foundation.concurrency import check_cancelled
from icdpo_chains.policies.branches import Branches, token_logprobs
from icdpo_chains.policies.decoding import decode
from icdpo_chains.policies.early_rejection import Halving
from icdpo_chains.policies.guidance import Guidance, Step
from icdpo_chains.policies.guided_step import GuidedStep
from icdpo_chains.policies.llama_cpp.branches import LlamaBranches
from icdpo_chains.policies.llama_cpp.cells import Cells, CellsOptions
from icdpo_chains.policies.llama_cpp.model import GGUFModel
from icdpo_chains.policies.llama_cpp.prompts import Prompts
from icdpo_chains.policies.sampling import Sample, SampleRequest

__all__ = ["LlamaEngine"]

_ROWS_SCORED = 64  # continuations scored together
_MOST_LOGITS = 2**24  # logits in memory at a time: 64 MiB


class LlamaEngine:
    """Computes with a GGUF model. Not thread-safe.

    Args:
        model: the model.
        options: how llama.cpp computes.
        most_kept: see `Prompts`.
    """

    def __init__(self, model: GGUFModel, options: CellsOptions, most_kept: int) -> None:
        self._cells = Cells(model, options)
        self._prompts = Prompts(self._cells, model.forkable_anywhere, most_kept)

    def sample(
        self, requests: Sequence[SampleRequest], eos_token_ids: Collection[int], tokenizer: Any
    ) -> list[list[Sample]]:
        """Samples for several contexts, with all rows in one batch per step."""

        def check() -> None:
            if all(request.cancelled is not None and request.cancelled.is_set() for request in requests):
                raise CancelledError

        counts = [request.n for request in requests]
        paired = [request for request in requests if request.sampling.guided or request.finalists is not None]
        contexts = [*(request.context for request in requests), *(request.contrast for request in paired)]
        rows = sum(counts) + sum(request.n for request in paired)
        room = max(request.sampling.max_new_tokens for request in requests)
        with torch.inference_mode(), self._prompts.reading(contexts, rows, room, check) as read:
            prompts, contrasts = read[: len(requests)], read[len(requests) :]
            guided = [p for p, r in zip(contrasts, paired, strict=True) if r.sampling.guided]
            watched = [p for p, r in zip(contrasts, paired, strict=True) if r.finalists is not None]
            guided_counts = [request.n for request in requests if request.sampling.guided]
            watched_counts = [request.n for request in requests if request.finalists is not None]
            grown = self._branches([*prompts, *guided], [*counts, *guided_counts])
            step, guidance, halving = _step(grown), None, None
            with closing(grown), closing(self._branches(watched, watched_counts)) as beside:
                if guided:
                    joint = GuidedStep(grown, requests)
                    step = joint.expert
                    guidance = Guidance([prompt.logits for prompt in guided], joint.contrast, requests)
                if watched:
                    logits = [prompt.logits for prompt in watched]
                    halving = Halving(beside, logits, requests, _MOST_LOGITS)
                return decode(
                    [prompt.logits for prompt in prompts],
                    step,
                    requests,
                    eos_token_ids=eos_token_ids,
                    tokenizer=tokenizer,
                    halving=halving,
                    guidance=guidance,
                )

    def logprobs(self, context: Sequence[int], continuations: Sequence[Sequence[int]]) -> list[list[float]]:
        """Returns the log-probability of each token of each continuation."""
        scores: list[list[float]] = []
        longest = max(map(len, continuations), default=0)
        if longest == 0:
            return [[] for _ in continuations]
        with torch.inference_mode():
            for begin in range(0, len(continuations), _ROWS_SCORED):
                some = continuations[begin : begin + _ROWS_SCORED]
                with (
                    self._prompts.reading([context], len(some), longest, check_cancelled) as (prompt,),
                    closing(self._branches([prompt], [len(some)])) as rows,
                ):
                    scores += _scores(rows, prompt.logits, some)
        return scores

    def close(self) -> None:
        """Frees the memory."""
        self._cells.close()
        self._prompts.forget()

    def _branches(self, prompts: Sequence[Any], counts: Sequence[int]) -> LlamaBranches:
        return LlamaBranches(self._cells, self._prompts, prompts, counts)


def _step(branches: Branches) -> Step:
    def step(tokens: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
        if kept is not None:
            branches.keep(kept)
        return branches.read(tokens[:, None])[:, -1]

    return step


def _scores(
    rows: LlamaBranches, first_logits: torch.Tensor, continuations: Sequence[Sequence[int]]
) -> list[list[float]]:
    """Reads as many tokens at a time as the memory for logits allows."""
    scores: list[list[float]] = []
    for ids in continuations:
        first = token_logprobs(first_logits[None, None], torch.tensor([list(ids[:1])])) if ids else None
        scores.append([] if first is None else first[0].tolist())
    width = max(1, _MOST_LOGITS // (len(continuations) * len(first_logits)))
    for begin in range(0, max(map(len, continuations)) - 1, width):
        fed = [list(ids[begin : begin + width]) for ids in continuations]
        # The last token of a continuation is scored but not read.
        fed = [part[: max(0, len(ids) - 1 - begin)] for part, ids in zip(fed, continuations, strict=True)]
        wanted = [
            token
            for part, ids in zip(fed, continuations, strict=True)
            for token in ids[begin + 1 :][: len(part)]
        ]
        if not wanted:
            break
        values = iter(token_logprobs(rows.read_ragged(fed)[None], torch.tensor([wanted]))[0].tolist())
        for row, part in zip(scores, fed, strict=True):
            row += [next(values) for _ in part]
    return scores
