"""`StaticBranches`: rows that grow by one token per step, in tensors of a fixed shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache

from icdpo_chains.policies.transformers.attention import shared_prompt_attention
from icdpo_chains.policies.transformers.block_layout import BlockLayout
from icdpo_chains.policies.transformers.branches import Prompt, last_positions
from icdpo_chains.policies.transformers.cuda_graph import CudaGraph
from icdpo_chains.policies.transformers.static_cache import StaticLayer, StaticState

__all__ = ["StaticBranches"]

# The initial room for own tokens; a longer answer doubles it. Each step reads the whole room.
_ROOM = 128

# Recording a step takes about as long as this many unrecorded steps.
_WORTH_RECORDING = 4


class StaticBranches:
    """Rows that share their prompts, like `SharedBranches`, in steps of a fixed shape.

    A GPU computes a step faster than the host launches its kernels. On CUDA the first step runs normally, the
    second is recorded as a CUDA graph, and all later steps replay it. When rows are dropped or the room is
    used up, new tensors are allocated and a step is recorded again. On other devices the same steps run
    unrecorded.

    Args:
        model: the language model, with all weights on one device.
        prompts: the prompts to continue; their caches are only read.
        counts: the number of rows of each prompt.
        rooms: the most tokens that follow in the rows of each prompt; further tokens are padding.
    """

    def __init__(
        self, model: Any, prompts: Sequence[Prompt], counts: Sequence[int], rooms: Sequence[int]
    ) -> None:
        self._model, self._rooms, self._most = model, rooms, max(rooms)
        self._lengths = [prompt.length for prompt in prompts]
        # The prompt of each row.
        self._owners = [i for i, count in enumerate(counts) for _ in range(count)]
        self._dtype = prompts[0].cache.layers[0].keys.dtype
        self._room, self._written = min(self._most, _ROOM), 0
        self._graph: CudaGraph | None = None
        self._warm = False  # whether a step of these shapes has run
        self._arrange()
        self._cache = Cache(
            layers=[
                StaticLayer.of(same, self._layout.owners, self._layout.size, self._state)
                for same in zip(*(prompt.cache.layers for prompt in prompts), strict=True)
            ]
        )

    def read(self, ids: torch.Tensor) -> torch.Tensor:
        """Feeds one token per row [rows, 1]; returns the logits that follow, float32 [rows, 1, vocabulary].

        The logits are valid until the next call.
        """
        if self._written == self._room:
            self._rearrange(range(len(self._owners)), min(self._most, 2 * self._room))
        self._tokens.index_copy_(0, self._places, ids)
        if self._graph is None and self._warm and self._most - self._written > _WORTH_RECORDING:
            self._graph = CudaGraph(self._step)
        logits = self._step() if self._graph is None else self._graph.replay()
        self._written += 1
        self._warm = ids.is_cuda
        return logits if self._full else logits[self._places]

    def keep(self, rows: torch.Tensor) -> None:
        """Keeps only these rows (indices, ascending)."""
        self._rearrange(rows.tolist(), self._room)

    def _step(self) -> torch.Tensor:
        self._state.hide_what_is_not_written()
        with shared_prompt_attention(self._model):
            logits: torch.Tensor = self._model(
                input_ids=self._tokens,
                position_ids=(self._begins + self._state.position).minimum(self._last),
                past_key_values=self._cache,
                use_cache=True,
            ).logits
        self._state.position.add_(1)
        return logits.float()

    def _arrange(self) -> None:
        """Allocates all tensors of a fixed shape except those of the cache."""
        device = self._model.device
        counts = [self._owners.count(i) for i in range(len(self._lengths))]
        self._layout = BlockLayout.of(counts)
        lengths = [self._lengths[owner] for owner in self._layout.owners]
        self._state = StaticState.of(lengths, self._room, self._written, self._dtype, device)
        self._places = torch.tensor(self._layout.places, device=device)
        self._full = len(self._layout.places) == self._layout.size
        self._tokens = torch.zeros(self._layout.size, 1, dtype=torch.long, device=device)
        # The positions of the first own token in each place and of the last one, [places, 1].
        begins, rooms = torch.tensor(lengths), torch.tensor([self._rooms[i] for i in self._layout.owners])
        self._begins, self._last = (
            each.repeat_interleave(self._layout.width).to(device)[:, None]
            for each in (begins, last_positions(begins, rooms))
        )
        self._graph, self._warm = None, False

    def _rearrange(self, rows: Sequence[int], room: int) -> None:
        """Moves some of the rows into new tensors."""
        old, device = self._layout, self._model.device
        self._owners, self._room = [self._owners[row] for row in rows], room
        self._arrange()
        blocks = torch.tensor([old.owners.index(owner) for owner in self._layout.owners], device=device)
        before = torch.tensor([old.places[row] for row in rows], device=device)
        for i, layer in enumerate(self._cache.layers):  # layer by layer, to hold little twice
            self._cache.layers[i] = layer.rearranged(
                blocks, before, self._places, self._layout.size, self._state
            )
