"""Key-value caches of many continuations, which hold a shared prompt once and allocate the rest once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer, DynamicSlidingWindowLayer

__all__ = ["PromptStates", "SharedPromptLayer", "can_share", "share"]

# Own tokens are multiplied in multiples of this number: oneDNN compiles a program for each new size of
# product, which takes as long as twenty products.
_BLOCK = 16


@dataclass(frozen=True)
class PromptStates:
    """The keys and values of one prompt in one layer, [heads, prompt, head size] each.

    The values of some architectures (DeepSeek V3) have another size than the keys.
    """

    keys: torch.Tensor
    values: torch.Tensor


class SharedPromptLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's cache of continuations of one or several prompts.

    The layer of transformers would hold the prompt once for each continuation and copy everything for each
    token. `keys` and `values` hold only the rows' own tokens, [rows, heads, length, head size]: views of
    buffers with room for all future tokens. The attention finds the prompts by the attribute `layer` of the
    keys.

    Args:
        prompts: keys and values of each prompt.
        counts: the number of rows of each prompt, in the order of the rows.
        room: the most tokens that may follow in each row.
    """

    def __init__(self, prompts: Sequence[PromptStates], counts: Sequence[int], room: int) -> None:
        super().__init__()
        self.prompts, self.counts = list(prompts), list(counts)
        keys, values = prompts[0].keys, prompts[0].values
        self.dtype, self.device = keys.dtype, keys.device
        rows, room = sum(counts), _whole_blocks(room)
        self._keys = keys.new_zeros(rows, keys.shape[0], room, keys.shape[2])
        self._values = values.new_zeros(rows, values.shape[0], room, values.shape[2])
        self.keys, self.values = self._keys[:, :, :0], self._values[:, :, :0]
        self.is_initialized = True

    @property
    def longest(self) -> int:
        """The number of tokens of the longest row."""
        return max(prompt.keys.shape[1] for prompt in self.prompts) + int(self.keys.shape[2])

    def in_blocks(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns `keys` and `values` in whole blocks, padded with zeros behind the rows' own tokens."""
        length = _whole_blocks(self.keys.shape[2])
        return self._keys[:, :, :length], self._values[:, :, :length]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Appends new tokens; returns all tokens of the rows."""
        begin = self.keys.shape[2]
        end = begin + key_states.shape[2]
        self._keys[:, :, begin:end] = key_states
        self._values[:, :, begin:end] = value_states
        self.keys, self.values = self._keys[:, :, :end], self._values[:, :, :end]
        keys = self.keys.view_as(self.keys)  # not `self.keys`: a reference cycle would keep the memory
        keys.layer = self  # type: ignore[attr-defined]
        return keys, self.values

    def keep(self, rows: torch.Tensor, counts: Sequence[int]) -> None:
        """Keeps only these rows; frees prompts without rows.

        Args:
            rows: indices, int64 [rows kept], ascending.
            counts: the number of rows left of each prompt.
        """
        left = [i for i, count in enumerate(counts) if count > 0]
        self.prompts, self.counts = [self.prompts[i] for i in left], [counts[i] for i in left]
        length = self.keys.shape[2]
        self._keys = self._keys.index_select(0, rows)
        self._values = self._values.index_select(0, rows)
        self.keys, self.values = self._keys[:, :, :length], self._values[:, :, :length]


def _whole_blocks(tokens: int) -> int:
    return -(-tokens // _BLOCK) * _BLOCK


def can_share(cache: Cache, room: int) -> bool:
    """Whether each layer holds the whole past, also after `room` more tokens."""
    return all(
        type(layer) is DynamicLayer
        or (
            type(layer) is DynamicSlidingWindowLayer
            and layer.get_seq_length() + room < layer.sliding_window
            and layer.keys.shape[-2] == layer.get_seq_length()
        )
        for layer in cache.layers
    )


def share(caches: Sequence[Cache], counts: Sequence[int], room: int) -> Cache:
    """Returns the cache of continuations of prompts.

    Args:
        caches: the caches of the prompts, each a batch of one; only read.
        counts: the number of rows of each prompt.
        room: the most tokens that follow in each row.
    """
    layers = [
        SharedPromptLayer([PromptStates(each.keys[0], each.values[0]) for each in same], counts, room)
        for same in zip(*(cache.layers for cache in caches), strict=True)
    ]
    return Cache(layers=layers)
