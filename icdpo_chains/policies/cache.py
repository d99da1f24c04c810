"""A key-value cache that is allocated once, instead of copied at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers.cache_utils import DynamicLayer

if TYPE_CHECKING:
    from transformers import Cache

__all__ = ["widen"]


def widen(cache: Cache, rows: int, room: int) -> None:
    """Turns the cache of one prompt into that of `rows` continuations of it, in place.

    Plain layers get room for what is still to come: transformers' own grow by concatenation, and copying them
    takes half of the time of decoding on a CPU. Other layers (sliding windows, recurrent states) stay as they
    are.

    Args:
        cache: filled by a batch of one.
        rows: how many continuations will be read.
        room: how many tokens will follow, in each row.
    """
    for i, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer and layer.get_seq_length() > 0:
            cache.layers[i] = _RoomyLayer(layer.keys, layer.values, rows, room)
        else:
            layer.reorder_cache(torch.zeros(rows, dtype=torch.long))


class _RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """A layer whose keys and values are views of larger buffers, [rows, heads, capacity, head size]."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, rows: int, room: int) -> None:
        super().__init__()
        self.dtype, self.device = keys.dtype, keys.device
        self.length = keys.shape[-2]
        self._keys = self._roomy(keys, rows, room)
        self._values = self._roomy(values, rows, room)
        self.keys, self.values = keys, values
        self.is_initialized = True
        self._show()

    @staticmethod
    def _roomy(states: torch.Tensor, rows: int, room: int) -> torch.Tensor:
        _, heads, length, size = states.shape
        buffer = states.new_empty(rows, heads, length + room, size)
        buffer[:, :, :length] = states
        return buffer

    def _show(self) -> None:
        self.keys = self._keys[:, :, : self.length]
        self.values = self._values[:, :, : self.length]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        end = self.length + key_states.shape[-2]
        self._keys[:, :, self.length : end] = key_states
        self._values[:, :, self.length : end] = value_states
        self.length = end
        self._show()
        return self.keys, self.values

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        self._keys = self._keys.index_select(0, beam_idx)
        self._values = self._values.index_select(0, beam_idx)
        self._show()
