"""`Cells`: the memory of a llama.cpp context, in which sequences share their common beginnings."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from icdpo_chains.errors import PolicyError, PolicyMemoryError
from icdpo_chains.policies.llama_cpp.model import GGUFModel, free_with, llama_cpp_library, reported_errors

__all__ = ["MAX_SEQUENCES", "CacheType", "Cells", "CellsOptions"]

MAX_SEQUENCES = 256
"""The maximum number of sequences of llama.cpp."""

_CELL_STEP = 1024  # cells are allocated in multiples of this, so that a slightly longer question reuses them
_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 8, "bf16": 30}  # of enum ggml_type
CacheType = str


@dataclass(frozen=True)
class CellsOptions:
    """How llama.cpp computes.

    Attributes:
        n_batch: the number of tokens per computation.
        n_outputs: the number of tokens whose logits are in memory at a time.
        n_threads: the number of processor threads.
        flash_attn: `None` leaves the choice to llama.cpp.
        type_k: the type of the keys: `"f16"`, `"f32"`, `"bf16"`, `"q8_0"` or `"q4_0"`.
        type_v: the type of the values.

    Raises:
        ValueError: a type is unknown, or needs `flash_attn`.
        TypeError: `flash_attn` is not a bool.
    """

    n_batch: int = 512
    n_outputs: int = 64
    n_threads: int = 1
    flash_attn: bool | None = None
    type_k: CacheType = "f16"
    type_v: CacheType = "f16"

    def __post_init__(self) -> None:
        for name in ("type_k", "type_v"):
            if getattr(self, name) not in tuple(_TYPES):
                known = ", ".join(map(repr, _TYPES))
                raise ValueError(f"{name}={getattr(self, name)!r} is unknown: use one of {known}")
        if self.flash_attn not in (None, True, False):
            raise TypeError(
                f"flash_attn is {self.flash_attn!r}: give True, False or None (llama.cpp decides)"
            )
        if self.flash_attn is False and self.type_v.startswith("q"):
            raise ValueError(
                f"type_v={self.type_v!r} needs flash attention, and flash_attn is False: leave flash_attn "
                "out, or use type_v='f16'"
            )


class Cells:
    """The memory of a model's sequences. Not thread-safe.

    Each token of each sequence takes a cell; a copied sequence shares the cells of its source.

    Args:
        model: the model.
        options: how llama.cpp computes.

    Attributes:
        cells: the number of cells.
        sequences: the number of sequences.
        step: the number of tokens per computation.
    """

    def __init__(self, model: GGUFModel, options: CellsOptions) -> None:
        self._library = llama_cpp_library()
        self._model, self._options = model, options
        self._context: Any = None
        self._batch: Any = None
        self._free: Any = None
        self.cells = self.sequences = 0
        self.step = options.n_batch

    def reserve(self, cells: int, sequences: int) -> bool:
        """Makes room. Returns whether the memory was reallocated, which drops its contents.

        Args:
            cells: the number of tokens in all sequences; shared tokens count once.
            sequences: the number of sequences, at most `MAX_SEQUENCES`.

        Raises:
            PolicyMemoryError: there is not enough memory. There are no cells then.
            PolicyError: the model is closed.
        """
        if cells <= self.cells and sequences <= self.sequences:
            return False
        cells = -(-max(cells, self.cells) // _CELL_STEP) * _CELL_STEP
        sequences = min(MAX_SEQUENCES, max(16, self.sequences, 1 << (sequences - 1).bit_length()))
        self.close()
        options, library = self._options, self._library
        params = library.llama_context_default_params()
        params.n_ctx, params.n_seq_max, params.kv_unified = cells, sequences, True
        params.n_batch = params.n_ubatch = options.n_batch
        params.n_outputs_max = max(options.n_outputs, sequences)
        params.n_threads = params.n_threads_batch = options.n_threads
        params.flash_attn_type = -1 if options.flash_attn is None else int(options.flash_attn)
        params.type_k, params.type_v = _TYPES[options.type_k], _TYPES[options.type_v]
        params.swa_full = True  # otherwise the beginning of a sequence is lost, and can't be shared
        params.no_perf = True
        reported_errors()  # of an earlier call
        self._context = library.llama_init_from_model(self._model.handle, params)
        if not self._context:
            self._context = None
            raise PolicyMemoryError(
                f"llama.cpp can't make room for {cells} tokens of {self._model.path} ({reported_errors()}): "
                "use fewer candidates, shorter answers, n_ctx or type_k='q8_0' (with type_v='q8_0' and "
                "flash_attn=True)"
            )
        self._memory = library.llama_get_memory(self._context)
        self._batch = library.llama_batch_init(options.n_batch, 0, 1)
        # The model is freed after its context.
        self._free = free_with(self, _free, library, self._context, self._batch, self._model)
        self.cells, self.sequences = cells, sequences
        return True

    def read(
        self, ids: Sequence[int], positions: Sequence[int], sequences: Sequence[int], outputs: Sequence[bool]
    ) -> torch.Tensor:
        """Reads tokens; returns the logits of the requested outputs, float32 [outputs, vocabulary].

        Args:
            ids: the tokens; the tokens of a sequence are in order.
            positions: the position of each token in its sequence, from 0.
            sequences: the sequence of each token.
            outputs: for each token, whether to return the logits that follow it.

        Raises:
            PolicyError: llama.cpp can't compute the tokens, or the memory was freed meanwhile.
        """
        if self._context is None:
            raise PolicyError(f"the model {self._model.path} was closed during a computation: load it again")
        parts: list[torch.Tensor] = []
        begin, most = 0, max(self._options.n_outputs, self.sequences)
        while begin < len(ids):
            end, wanted = begin, 0
            while end < len(ids) and end - begin < self._options.n_batch and wanted + outputs[end] <= most:
                wanted += outputs[end]
                end += 1
            parts.append(
                self._decode(ids[begin:end], positions[begin:end], sequences[begin:end], outputs[begin:end])
            )
            begin = end
        return torch.cat(parts) if len(parts) != 1 else parts[0]

    def _decode(
        self, ids: Sequence[int], positions: Sequence[int], sequences: Sequence[int], outputs: Sequence[bool]
    ) -> torch.Tensor:
        batch, wanted = self._batch, 0
        batch.n_tokens = len(ids)
        for i, (token, position, sequence, output) in enumerate(
            zip(ids, positions, sequences, outputs, strict=True)
        ):
            batch.token[i], batch.pos[i] = token, position
            batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = 1, sequence, output
            wanted += output
        reported_errors()  # of an earlier call
        status = self._library.llama_decode(self._context, batch)
        if status != 0:
            raise PolicyError(
                f"llama.cpp can't compute {len(ids)} tokens of {self._model.path} (status {status}: "
                f"{reported_errors()}): use fewer candidates or a shorter context"
            )
        if wanted == 0:
            return torch.empty(0, self._model.n_vocab)
        pointer = self._library.llama_get_logits(self._context)
        shape = (wanted, self._model.n_vocab)
        numbers = np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float)), shape)
        return torch.from_numpy(numbers.copy())  # the next call overwrites them

    def fork(self, source: int, target: int, length: int) -> None:
        """Copies the first tokens of a sequence to an empty sequence.

        Args:
            source: the number of the sequence to copy.
            target: the number of the empty sequence.
            length: the number of tokens; all tokens for a model that is not `forkable_anywhere`.
        """
        end = length if self._model.forkable_anywhere else -1
        self._library.llama_memory_seq_cp(self._memory, source, target, 0, end)

    def cut(self, sequence: int, length: int = 0) -> None:
        """Drops the tokens of a sequence from a length on."""
        if self._context is not None:
            self._library.llama_memory_seq_rm(self._memory, sequence, length or -1, -1)

    def close(self) -> None:
        """Frees the memory."""
        self._context = self._batch = None
        self.cells = self.sequences = 0
        if self._free is not None:
            self._free()


def _free(library: Any, context: Any, batch: Any, model: GGUFModel) -> None:
    library.llama_batch_free(batch)
    library.llama_free(context)
