"""`Prompts`: contexts that llama.cpp has read, kept for contexts with the same beginning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from icdpo_chains.policies.llama_cpp.cells import Cells

__all__ = ["Prompt", "Prompts"]

_SHORTEST = 16  # tokens; reading a shorter beginning again is as fast as finding it


@dataclass(eq=False)
class Prompt:
    """A context that llama.cpp has read.

    Attributes:
        ids: its tokens.
        sequence: its sequence.
        logits: the logits [vocabulary] that follow the last token.
    """

    ids: tuple[int, ...]
    sequence: int
    logits: torch.Tensor


class Prompts:
    """Reads contexts, each common beginning once, and provides sequences.

    Args:
        cells: the memory of the sequences.
        forkable_anywhere: see `GGUFModel`; otherwise nothing is kept.
        most_kept: the number of contexts to keep.
    """

    def __init__(self, cells: Cells, forkable_anywhere: bool, most_kept: int) -> None:
        self._cells = cells
        self._most_kept = most_kept if forkable_anywhere else 0
        self._kept: dict[int, tuple[int, ...]] = {}  # by sequence; the most recently used is last
        self._free: list[int] = []

    @contextmanager
    def reading(
        self,
        contexts: Sequence[Sequence[int]],
        rows: int,
        room: int,
        check: Callable[[], None] = lambda: None,
    ) -> Iterator[list[Prompt]]:
        """Reads contexts and makes room for rows that continue them; keeps only the contexts at the end.

        Args:
            contexts: the token ids of each context.
            rows: the total number of rows. The first row of a context uses the context's own sequence.
            room: the maximum number of tokens that follow in each row.
            check: called before each part of a context is read; its exception ends the reading.

        Raises:
            PolicyMemoryError: there is not enough memory.
        """
        self._reserve(contexts, rows, room)
        used: list[Prompt] = []
        try:
            for context in contexts:
                used.append(self._read(tuple(context), used, check))
            yield used
        except BaseException:
            self.forget()  # a sequence may be incomplete
            raise
        for prompt in used:
            if self._most_kept:
                self._cells.cut(prompt.sequence, len(prompt.ids))
            for sequence in [other for other, ids in self._kept.items() if prompt.ids[: len(ids)] == ids]:
                del self._kept[sequence]  # the longer context serves in its place
                self.give(sequence)
            self._kept[prompt.sequence] = prompt.ids
        self._forget_down_to(self._most_kept)

    def take(self) -> int:
        """Returns an empty sequence; return it by `give`."""
        return self._free.pop()

    def give(self, sequence: int) -> None:
        """Empties a sequence."""
        self._cells.cut(sequence)
        self._free.append(sequence)

    def forget(self) -> None:
        """Empties all sequences."""
        self._kept.clear()
        self._free = list(range(self._cells.sequences))
        for sequence in self._free:
            self._cells.cut(sequence)

    def _reserve(self, contexts: Sequence[Sequence[int]], rows: int, room: int) -> None:
        own = sum(map(len, contexts)) + rows * room
        self._forget_down_to(max(0, self._cells.sequences - max(rows, len(contexts))))
        while self._kept and sum(map(len, self._kept.values())) + own > self._cells.cells:
            self._forget_down_to(len(self._kept) - 1)
        kept = self._most_kept * max(map(len, contexts))  # room for the contexts to keep
        if own > self._cells.cells or max(rows, len(contexts)) > self._cells.sequences:
            try:
                self._cells.reserve(own + min(kept, own), max(rows, len(contexts)))
            finally:
                self.forget()  # the sequences are gone, also after an error

    def _forget_down_to(self, count: int) -> None:
        while len(self._kept) > count:
            sequence = next(iter(self._kept))
            del self._kept[sequence]
            self.give(sequence)

    def _read(self, ids: tuple[int, ...], used: Sequence[Prompt], check: Callable[[], None]) -> Prompt:
        known = self._kept | {prompt.sequence: prompt.ids for prompt in used if self._most_kept}
        source, common = None, 0
        for sequence, other in known.items():
            length = _common_length(ids[:-1], other)  # the last token is always read, for its logits
            if length >= max(_SHORTEST, common + 1):
                source, common = sequence, length
        sequence = self.take()
        if source is not None:
            if source in self._kept:
                self._kept[source] = self._kept.pop(source)
            self._cells.fork(source, sequence, common)
        begin, logits = common, None
        for end in [*range(begin + self._cells.step, len(ids), self._cells.step), len(ids)]:
            check()
            part = ids[begin:end]
            outputs = [False] * len(part)
            outputs[-1] = end == len(ids)
            logits = self._cells.read(part, range(begin, end), [sequence] * len(part), outputs)
            begin = end
        assert logits is not None  # noqa: S101 - a context has a token
        return Prompt(ids, sequence, logits[0])


def _common_length(ids: tuple[int, ...], other: tuple[int, ...]) -> int:
    pairs = enumerate(zip(ids, other, strict=False))
    return next((i for i, (one, two) in pairs if one != two), min(len(ids), len(other)))
