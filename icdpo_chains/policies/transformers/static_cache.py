"""Key-value caches of a fixed shape, which allow a decoding step to be recorded once and replayed.

A recorded step can't depend on numbers on the host: the position of the next token is a tensor on the device,
and masks hide the rest of the buffers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from transformers.cache_utils import DynamicLayer

__all__ = ["StaticLayer", "StaticState"]

# Lengths are whole multiples of this: on a GPU, matrix products of other sizes are slow.
_MULTIPLE = 16


@dataclass(frozen=True)
class StaticState:
    """The state shared by all layers of a static cache.

    Attributes:
        position: int64 [1], the position of the rows' next token.
        prompt_mask: [blocks, 1, 1, 1, prompt], 0 or -infinity, added to the scores of the padded prompts.
        own_mask: [room], 0 for the tokens up to `position` and -infinity behind them.
        longest: the most tokens of a row, including its prompt.
    """

    position: torch.Tensor
    prompt_mask: torch.Tensor
    own_mask: torch.Tensor
    longest: int

    @classmethod
    def of(
        cls, lengths: Sequence[int], room: int, written: int, dtype: torch.dtype, device: torch.device
    ) -> StaticState:
        """Returns the state of rows with `written` tokens each.

        Args:
            lengths: the number of tokens in each block's prompt.
            room: the most own tokens of a row.
            written: the number of own tokens so far.
            dtype: the dtype of keys and values.
            device: the device of keys and values.
        """
        padded = torch.arange(_whole(max(lengths)), device=device)
        behind = padded >= torch.tensor(lengths, device=device)[:, None]
        prompt_mask = torch.zeros(behind.shape, dtype=dtype, device=device).masked_fill_(behind, -torch.inf)
        return cls(
            torch.tensor([written], device=device),
            prompt_mask[:, None, None, None],
            torch.zeros(_whole(room), dtype=dtype, device=device),
            max(lengths) + room,
        )

    @property
    def prompt_length(self) -> int:
        """The padded length of all prompts."""
        return int(self.prompt_mask.shape[-1])

    @property
    def room(self) -> int:
        """The length of the buffers for the rows' own tokens."""
        return int(self.own_mask.shape[0])

    def hide_what_is_not_written(self) -> None:
        """Updates `own_mask` to `position`."""
        places = torch.arange(self.room, device=self.own_mask.device)
        self.own_mask.zero_().masked_fill_(places > self.position, -torch.inf)


class StaticLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's cache of rows in the blocks of a `BlockLayout`; takes one token per row at a time.

    Args:
        prompt_keys: [blocks, heads, prompt, head size], padded to one length.
        prompt_values: the same for the values.
        own_keys: [places, heads, room, head size], a buffer for the rows' own tokens.
        own_values: the same for the values.
        state: the state shared by all layers.
    """

    def __init__(
        self,
        prompt_keys: torch.Tensor,
        prompt_values: torch.Tensor,
        own_keys: torch.Tensor,
        own_values: torch.Tensor,
        state: StaticState,
    ) -> None:
        super().__init__()
        self.prompt_keys, self.prompt_values = prompt_keys, prompt_values
        self.own_keys, self.own_values, self.state = own_keys, own_values, state
        # transformers derives no positions from these: the positions are passed with the tokens.
        self.keys, self.values = own_keys[:, :, :1], own_values[:, :, :1]
        self.dtype, self.device, self.is_initialized = own_keys.dtype, own_keys.device, True

    @classmethod
    def of(
        cls, prompts: Sequence[DynamicLayer], owners: Sequence[int], size: int, state: StaticState
    ) -> StaticLayer:
        """Returns the layer of rows without tokens of their own.

        Args:
            prompts: the layer's cache of each prompt, a batch of one; only read.
            owners: the number of each block's prompt.
            size: the number of places.
            state: the state shared by all layers.
        """
        read = [(prompts[owner].keys[0], prompts[owner].values[0]) for owner in owners]
        keys, values = (
            torch.stack([F.pad(each, (0, 0, 0, state.prompt_length - each.shape[1])) for each in tensors])
            for tensors in zip(*read, strict=True)
        )
        own_keys, own_values = (
            prompt.new_zeros(size, prompt.shape[1], state.room, prompt.shape[3]) for prompt in (keys, values)
        )
        return cls(keys, values, own_keys, own_values, state)

    def rearranged(
        self, blocks: torch.Tensor, before: torch.Tensor, after: torch.Tensor, size: int, state: StaticState
    ) -> StaticLayer:
        """Returns a layer with some of the rows, in new places.

        Args:
            blocks: int64 [blocks], for each new block, a current block with the same prompt.
            before: int64 [rows], the current place of each kept row.
            after: int64 [rows], the new place of each kept row.
            size: the new number of places.
            state: the state of the new layer; its buffers may be longer.
        """
        length = min(self.state.room, state.room)

        def moved(own: torch.Tensor) -> torch.Tensor:
            new = own.new_zeros(size, own.shape[1], state.room, own.shape[3])
            new[after, :, :length] = own[before, :, :length]
            return new

        keys, values = (
            prompt[blocks, :, : state.prompt_length] for prompt in (self.prompt_keys, self.prompt_values)
        )
        return StaticLayer(keys, values, moved(self.own_keys), moved(self.own_values), state)

    @property
    def longest(self) -> int:
        """The most tokens of a row, including its prompt."""
        return self.state.longest

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Writes one token for each row; returns the whole buffers."""
        self.own_keys.index_copy_(2, self.state.position, key_states)
        self.own_values.index_copy_(2, self.state.position, value_states)
        keys = self.own_keys.view_as(
            self.own_keys
        )  # not the buffer itself: a reference cycle would keep the memory
        keys.layer = self  # type: ignore[attr-defined]
        return keys, self.own_values

    def attend(self, query: torch.Tensor, scale: float) -> torch.Tensor:
        """Attends to the prompts and to the rows' own tokens, with one softmax over both.

        All rows of a block are one matrix, so its prompt is read once; all blocks are one batch.

        Args:
            query: [places, heads, 1, head size].
            scale: the factor of the products.

        Returns:
            [places, heads, 1, head size of the values].
        """
        places, heads, _, size = query.shape
        blocks, groups, length, _ = self.prompt_keys.shape
        room, values = self.own_keys.shape[2], self.own_values.shape[3]
        width, shared = places // blocks, heads // groups  # `shared` query heads have one key head
        query = (query * scale).view(blocks, width, groups, shared, size)
        by_block = query.transpose(1, 2).reshape(blocks * groups, width * shared, size)
        on_prompt = by_block @ self.prompt_keys.flatten(0, 1).mT
        on_prompt = on_prompt.view(blocks, groups, width, shared, length) + self.state.prompt_mask
        on_own = query.reshape(places * groups, shared, size) @ self.own_keys.flatten(0, 1).mT
        on_own = on_own.view(blocks, width, groups, shared, room).transpose(1, 2) + self.state.own_mask
        weights = torch.cat([on_prompt, on_own], dim=-1).softmax(dim=-1)
        on_prompt, on_own = weights[..., :length], weights[..., length:]
        result = on_prompt.reshape(blocks * groups, width * shared, length) @ self.prompt_values.flatten(0, 1)
        result = result.view(blocks, groups, width, shared, values).transpose(1, 2)
        own = on_own.transpose(1, 2).reshape(places * groups, shared, room) @ self.own_values.flatten(0, 1)
        result = result + own.view(blocks, width, groups, shared, values)
        return result.reshape(places, heads, 1, values)


def _whole(tokens: int) -> int:
    return -(-tokens // _MULTIPLE) * _MULTIPLE
