"""`PrefixCache`: key-value states of prompts' beginnings, for later prompts with the same beginning."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from icdpo_chains.policies.transformers.device_memory import is_out_of_memory

__all__ = ["BLOCK", "PrefixCache"]

BLOCK = 128
"""The tokens of a block by default."""


@dataclass(frozen=True)
class _Block:
    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    """Keys and values of each layer, [1, heads, tokens, head size]."""

    @property
    def size(self) -> int:
        return sum(keys.nbytes + values.nbytes for keys, values in self.layers)


class PrefixCache:
    """Blocks of prompts; evicts the least recently used blocks.

    Prompts are read, kept and found in blocks. The blocks do not depend on the contents of the cache, so the
    results are the same to the last bit.

    Args:
        max_bytes: the most bytes of the blocks; 0 keeps none.
        block: the tokens of a block.
    """

    def __init__(self, max_bytes: int, block: int = BLOCK) -> None:
        self.max_bytes, self.block = max_bytes, block
        self.size = 0
        self._blocks: OrderedDict[tuple[int, ...], _Block] = OrderedDict()

    def clear(self) -> None:
        """Drops all blocks."""
        self._blocks.clear()
        self.size = 0

    def fill(self, cache: Any, context: Sequence[int]) -> int:
        """Fills an empty cache with the longest known beginning of a prompt; returns its length.

        The last token is never included: reading it gives the logits that follow.
        """
        found: list[_Block] = []
        for end in range(self.block, len(context), self.block):
            block = self._blocks.get(tuple(context[:end]))
            if block is None:
                break
            found.append(block)
        if found:
            for i, same in enumerate(zip(*(block.layers for block in found), strict=True)):
                keys, values = zip(*same, strict=True)
                cache.update(torch.cat(keys, dim=2), torch.cat(values, dim=2), i)
        return len(found) * self.block

    def keep(self, cache: Any, context: Sequence[int]) -> None:
        """Keeps the whole blocks of a prompt from the cache that has read the prompt.

        If the device has no memory for them, nothing is kept.
        """
        if self.max_bytes == 0:
            return
        try:
            self._add(cache, context)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self.clear()
        while self.size > self.max_bytes:
            _, block = self._blocks.popitem(last=False)
            self.size -= block.size

    def _add(self, cache: Any, context: Sequence[int]) -> None:
        # Touch the first block last: later blocks can't be found without it, so it must be the most recent.
        for begin in reversed(range(0, len(context) - self.block + 1, self.block)):
            end = begin + self.block
            prefix = tuple(context[:end])
            if prefix not in self._blocks:
                # Copies: a view would keep the whole cache.
                block = _Block(
                    tuple(
                        (layer.keys[:, :, begin:end].clone(), layer.values[:, :, begin:end].clone())
                        for layer in cache.layers
                    )
                )
                self._blocks[prefix] = block
                self.size += block.size
            self._blocks.move_to_end(prefix)
