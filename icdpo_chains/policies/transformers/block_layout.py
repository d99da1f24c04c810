"""`BlockLayout`: the places of several prompts' rows in a batch of equal blocks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["BlockLayout"]


@dataclass(frozen=True)
class BlockLayout:
    """Blocks of `width` places; all rows of a block continue the same prompt.

    Tensors of a fixed shape need the same number of places for each prompt. A prompt with more rows than
    `width` takes several blocks. Places without a row are computed and ignored.

    Attributes:
        width: the number of places in a block.
        owners: the number of each block's prompt.
        places: the place of each row; the rows are those of the first prompt, then of the second, ...
    """

    width: int
    owners: tuple[int, ...]
    places: tuple[int, ...]

    @classmethod
    def of(cls, counts: Sequence[int]) -> BlockLayout:
        """Lays out rows at the least cost.

        A block costs about as much as a row: the block reads its prompt, the row computes a token. With equal
        counts each prompt has one full block.

        Args:
            counts: the number of rows of each prompt; a prompt without rows gets no block.
        """

        def cost(width: int) -> int:
            return sum(-(-count // width) for count in counts) * (width + 1)

        width = min(sorted({count for count in counts if count > 0}, reverse=True), key=cost)
        blocks = [-(-count // width) for count in counts]
        owners = tuple(itertools.chain.from_iterable([i] * count for i, count in enumerate(blocks)))
        places: list[int] = []
        begin = 0
        for count, own in zip(counts, blocks, strict=True):
            places += range(begin, begin + count)
            begin += own * width
        return cls(width, owners, tuple(places))

    @property
    def size(self) -> int:
        """The number of places."""
        return self.width * len(self.owners)
