"""Matrix products on a CPU with weights laid out for them, once instead of at every call."""

from __future__ import annotations

import ctypes
import logging
import mmap
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["PackedLinears"]

_log = logging.getLogger(__name__)

# Laid out for a batch of this size. With 8, a row's result was not seen to depend on the rows beside it.
_ROWS = 8

_MADV_PAGEOUT = 21


class PackedLinears:
    """The linear layers of a model, with oneDNN's layout of their weights beside their own.

    oneDNN lays a weight out anew at each product, which costs much of the time where there are few rows. What
    is packed here is the same numbers, in as much memory again; a weight that is mapped from a file need not
    stay in memory beside them. The model is changed only within `used`: for its owner it stays as it is.

    Args:
        model: a model on a CPU; on another device, nothing is packed.
        most_bytes: a model whose linear layers are larger is left as it is; `None` for no limit.
    """

    def __init__(self, model: nn.Module, most_bytes: int | None) -> None:
        self._linears = [
            module
            for module in model.modules()
            # A forward of its own belongs to whoever has hooked it there.
            if type(module) is nn.Linear and "forward" not in vars(module)
        ]
        size = sum(linear.weight.nbytes for linear in self._linears)
        if not all(map(_can_be_packed, self._linears)) or (most_bytes is not None and size > most_bytes):
            self._linears = []
        self._packed: list[tuple[tuple[int, int], Any]] = [((-1, -1), None)] * len(self._linears)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Lets the model compute with the packed weights, in this block; a changed weight is packed anew."""
        try:
            for i, linear in enumerate(self._linears):
                state = (linear.weight.data_ptr(), linear.weight._version)
                if self._packed[i][0] != state:
                    self._packed[i] = (state, partial(_linear, _pack(linear.weight), linear.bias))
                    _page_out(linear.weight)
                vars(linear)["forward"] = self._packed[i][1]
            yield
        finally:
            for linear in self._linears:
                vars(linear).pop("forward", None)


def _linear(packed: torch.Tensor, bias: torch.Tensor | None, rows: torch.Tensor) -> torch.Tensor:
    # A row by itself oneDNN adds up in another order: the last candidate must not depend on being the last.
    alone = rows.shape[:-1].numel() == 1
    given = rows.reshape(1, -1).expand(2, -1) if alone else rows
    result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(given, packed, bias, "none", [], "")
    return result[0].view(*rows.shape[:-1], -1) if alone else result


def _pack(weight: torch.Tensor) -> torch.Tensor:
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _ROWS)
    return packed


def _page_out(weight: torch.Tensor) -> None:
    """Tells Linux that a weight is not needed for now; whoever reads it again finds it as it was."""
    if sys.platform != "linux":
        return
    begin = -(-weight.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (weight.data_ptr() + weight.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if begin < end:  # an older Linux does not know the advice, and leaves all as it is
        ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _MADV_PAGEOUT)


def _can_be_packed(linear: nn.Linear) -> bool:
    """Whether oneDNN is there, takes this dtype, and computes the same; tried once a dtype."""
    weight = linear.weight
    if weight.device.type != "cpu" or weight.is_inference():
        return False
    return _works(weight.dtype)


_tried: dict[torch.dtype, bool] = {}


def _works(dtype: torch.dtype) -> bool:
    # The operators are those that torch's own compiler uses, and no part of its public interface.
    if dtype not in _tried:
        rows = torch.linspace(-1, 1, 3 * 32).view(3, 32).to(dtype)
        weight = torch.linspace(1, -2, 48 * 32).view(48, 32).to(dtype)
        bias = torch.linspace(0, 1, 48).to(dtype)
        try:
            found = _linear(_pack(weight), bias, rows).float()
            _tried[dtype] = torch.allclose(found, F.linear(rows, weight, bias).float(), rtol=0.02, atol=0.02)
        except (RuntimeError, AttributeError, NotImplementedError) as error:
            _log.debug("weights of %s can't be packed: %s", dtype, error)
            _tried[dtype] = False
    return _tried[dtype]
