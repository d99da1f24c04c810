"""`LlamaBranches`: rows that continue contexts, with one batch per step."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from icdpo_chains.policies.llama_cpp.cells import Cells
from icdpo_chains.policies.llama_cpp.prompts import Prompt, Prompts

__all__ = ["LlamaBranches"]


class LlamaBranches:
    """Rows that share the cells of their contexts; see `Branches`.

    Args:
        cells: the memory of the sequences.
        prompts: provides the sequences.
        contexts: the contexts to continue.
        counts: the number of rows of each context.
    """

    def __init__(
        self, cells: Cells, prompts: Prompts, contexts: Sequence[Prompt], counts: Sequence[int]
    ) -> None:
        self._cells, self._prompts = cells, prompts
        self._sequences: list[int] = []
        self._lengths: list[int] = []
        self._own: set[int] = set()  # the contexts' own sequences, which are not given back
        for context, count in zip(contexts, counts, strict=True):
            self._own.add(context.sequence)
            # Copy first: the copies need the context unchanged.
            copies = [prompts.take() for _ in range(count - 1)]
            for copy in copies:
                cells.fork(context.sequence, copy, len(context.ids))
            self._sequences += [context.sequence, *copies]
            self._lengths += [len(context.ids)] * count

    def read(self, ids: torch.Tensor) -> torch.Tensor:
        """Feeds new tokens [rows, new]; returns the logits [rows, new, vocabulary] that follow each."""
        rows, new = ids.shape
        logits = self.read_ragged(ids.tolist())
        return logits.view(rows, new, -1)

    def read_ragged(self, ids: Sequence[Sequence[int]]) -> torch.Tensor:
        """Feeds tokens of a different number to each row; returns logits [tokens, vocabulary], row by row."""
        tokens = [token for row in ids for token in row]
        positions = [
            length + i for row, length in zip(ids, self._lengths, strict=True) for i in range(len(row))
        ]
        sequences = [sequence for row, sequence in zip(ids, self._sequences, strict=True) for _ in row]
        self._lengths = [length + len(row) for row, length in zip(ids, self._lengths, strict=True)]
        return self._cells.read(tokens, positions, sequences, [True] * len(tokens))

    def keep(self, rows: torch.Tensor) -> None:
        """Keeps only these rows (indices, ascending)."""
        kept = set(rows.tolist())
        for row, sequence in enumerate(self._sequences):
            if row not in kept and sequence not in self._own:
                self._prompts.give(sequence)
        self._sequences = [self._sequences[row] for row in sorted(kept)]
        self._lengths = [self._lengths[row] for row in sorted(kept)]

    def close(self) -> None:
        """Gives the rows' sequences back."""
        self.keep(torch.empty(0, dtype=torch.long))
