"""`Prompts`: the contexts that llama.cpp has read, kept for contexts that begin alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from icdpo_chains.policies.llama_cpp.cells import Cells

__all__ = ["Prompt", "Prompts"]

_SHORTEST = 16  # tokens; a shorter common beginning is read anew, which is as fast as finding it


@dataclass(eq=False)
class Prompt:
    """A context that llama.cpp has read.

    Attributes:
        ids: its tokens.
        sequence: its sequence.
        logits: [vocabulary], those of the token that follows.
    """

    ids: tuple[int, ...]
    sequence: int
    logits: torch.Tensor


class Prompts:
    """Reads contexts, each common beginning once, and hands out sequences.

    Args:
        cells: where the sequences lie.
        forkable_anywhere: see `GGUFModel`; otherwise nothing is kept.
        most_kept: how many contexts are kept for later ones.
    """

    def __init__(self, cells: Cells, forkable_anywhere: bool, most_kept: int) -> None:
        self._cells = cells
        self._most_kept = most_kept if forkable_anywhere else 0
        self._kept: dict[int, tuple[int, ...]] = {}  # by sequence; the one used last stands last
        self._free: list[int] = []

    @contextmanager
    def reading(
        self,
        contexts: Sequence[Sequence[int]],
        rows: int,
        room: int,
        check: Callable[[], None] = lambda: None,
    ) -> Iterator[list[Prompt]]:
        """Reads contexts and makes room for rows that continue them; at the end only the contexts are kept.

        Args:
            contexts: the token ids of each.
            rows: how many rows will continue them, all together. The first row of a context is the context's
                own sequence.
            room: how many tokens will follow in each row, at most.
            check: called before each part of a context is read; what it raises ends the reading.

        Raises:
            PolicyError: there is not enough memory.
        """
        self._reserve(contexts, rows, room)
        used: list[Prompt] = []
        try:
            for context in contexts:
                used.append(self._read(tuple(context), used, check))
            yield used
        except BaseException:
            self.forget()  # a sequence may have been left in the middle
            raise
        for prompt in used:
            if self._most_kept:
                self._cells.cut(prompt.sequence, len(prompt.ids))
            self._kept[prompt.sequence] = prompt.ids
        self._forget_down_to(self._most_kept)

    def take(self) -> int:
        """Returns an empty sequence; give it back with `give`."""
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
        kept = self._most_kept * max(map(len, contexts))  # so that there is something to keep them in
        if own > self._cells.cells or max(rows, len(contexts)) > self._cells.sequences:
            self._cells.reserve(own + min(kept, own), max(rows, len(contexts)))
            self.forget()

    def _forget_down_to(self, count: int) -> None:
        while len(self._kept) > count:
            sequence = next(iter(self._kept))
            del self._kept[sequence]
            self.give(sequence)

    def _read(self, ids: tuple[int, ...], used: Sequence[Prompt], check: Callable[[], None]) -> Prompt:
        known = self._kept | {prompt.sequence: prompt.ids for prompt in used if self._most_kept}
        source, common = None, 0
        for sequence, other in known.items():
            length = _common_length(ids[:-1], other)  # the last token is read for its logits
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
