"""Matrix products on a CPU with weights laid out once instead of at each call."""

from __future__ import annotations

import ctypes
import logging
import mmap
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["PackedLinears"]

_log = logging.getLogger(__name__)

# The batch size of the layout. With 8, a row's result did not depend on the other rows in our tests.
_ROWS = 8

_MADV_PAGEOUT = 21


class PackedLinears:
    """The linear layers of a model, with a copy of their weights in oneDNN's layout.

    Without a packed copy, oneDNN re-layouts a weight at each product, which takes much of the time with few
    rows. The packed copy holds the same numbers and doubles the memory, except that weights mapped from a
    file need not stay in memory. Layers with the same input (the projections to queries, keys and values; a
    gate and the gated layer) are packed as one, because each product of few rows has a high fixed cost. The
    model is changed only within `used`; its owner sees no change.

    Args:
        model: a model on a CPU; on another device, nothing is packed.
        most_bytes: the most bytes of linear layers to pack; a larger model is left unpacked. `None` for no
            limit.
        probe: runs a small computation of the model, which shows the layers with the same input. Without a
            probe, each layer is packed by itself.
    """

    def __init__(
        self, model: nn.Module, most_bytes: int | None, probe: Callable[[], object] | None = None
    ) -> None:
        self._linears = [
            module
            for module in model.modules()
            # A forward on the instance is somebody's hook: leave it.
            if type(module) is nn.Linear and "forward" not in vars(module)
        ]
        size = sum(linear.weight.nbytes for linear in self._linears)
        if not all(map(_can_be_packed, self._linears)) or (most_bytes is not None and size > most_bytes):
            self._linears = []
        self._probe = probe
        self._groups: list[_Group] | None = None if self._linears else []

    @contextmanager
    def used(self) -> Iterator[None]:
        """Makes the model compute with the packed weights in this block; repacks changed weights."""
        if self._groups is None:
            together = _given_the_same(self._linears, self._probe) if self._probe else []
            grouped = {linear for linears in together for linear in linears}
            alone = [[linear] for linear in self._linears if linear not in grouped]
            self._groups = [_Group(linears) for linears in together + alone]
        try:
            for group in self._groups:
                group.pack()
                for place, linear in enumerate(group.linears):
                    vars(linear)["forward"] = partial(group.product, place)
            yield
        finally:
            for linear in self._linears:
                vars(linear).pop("forward", None)


class _Group:
    """Linear layers with the same input, in the order of their calls: one product for all."""

    def __init__(self, linears: list[nn.Linear]) -> None:
        self.linears = linears
        self._sizes = [linear.out_features for linear in linears]
        self._state: list[tuple[int, int]] = []
        self._last: tuple[torch.Tensor, Sequence[torch.Tensor]] | None = None

    def pack(self) -> None:
        """Packs the weights unless these weights are packed already."""
        given = [parameter for linear in self.linears for parameter in linear.parameters()]
        state = [(parameter.data_ptr(), parameter._version) for parameter in given]
        if state == self._state:
            return
        weights = [linear.weight.detach() for linear in self.linears]
        biases = [linear.bias for linear in self.linears]
        self._bias: torch.Tensor | None = None
        if any(bias is not None for bias in biases):
            zero = weights[0].new_zeros
            self._bias = torch.cat(
                [
                    zero(size) if bias is None else bias.detach()
                    for bias, size in zip(biases, self._sizes, strict=True)
                ]
            )
        self._packed = _pack(torch.cat(weights) if len(weights) > 1 else weights[0])
        for weight in weights:
            _page_out(weight)
        self._last = None  # left by an aborted pass, with its weights
        self._state = state

    def product(self, place: int, rows: torch.Tensor) -> torch.Tensor:
        """Returns the output of the layer at this place; the first layer computes the outputs of all."""
        last = self._last
        if last is None or last[0] is not rows:
            last = (rows, torch.split(_linear(self._packed, self._bias, rows), self._sizes, dim=-1))
        self._last = last if place < len(self._sizes) - 1 else None
        return last[1][place]


def _given_the_same(linears: Sequence[nn.Linear], probe: Callable[[], object]) -> list[list[nn.Linear]]:
    """Returns groups of layers that receive the same tensor while the probe runs."""
    # With the tensor's version: a tensor that was written to is not the same input.
    groups: dict[int, tuple[torch.Tensor, torch.Tensor, list[nn.Linear]]] = {}

    def note(linear: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if not given:  # by keyword
            return
        rows, before, group = groups.setdefault(id(given[0]), (given[0], given[0].clone(), []))
        if torch.equal(rows, before):
            group.append(cast("nn.Linear", linear))

    handles = [linear.register_forward_pre_hook(note) for linear in linears]
    try:
        probe()
    finally:
        for handle in handles:
            handle.remove()
    # A layer with several calls is packed by itself.
    uses = Counter(linear for *_, group in groups.values() for linear in group)
    once = [[linear for linear in group if uses[linear] == 1] for *_, group in groups.values()]
    return [group for group in once if len(group) > 1]


def _linear(packed: torch.Tensor, bias: torch.Tensor | None, rows: torch.Tensor) -> torch.Tensor:
    # oneDNN sums a single row in another order: the last remaining candidate must not change its result.
    alone = rows.shape[:-1].numel() == 1
    given = rows.reshape(1, -1).expand(2, -1) if alone else rows
    result: torch.Tensor = torch.ops.mkldnn._linear_pointwise.default(given, packed, bias, "none", [], "")
    return result[0].view(*rows.shape[:-1], -1) if alone else result


def _pack(weight: torch.Tensor) -> torch.Tensor:
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight.default(weight.detach(), _ROWS)
    return packed


def _page_out(weight: torch.Tensor) -> None:
    """Tells Linux that a weight is not needed for now; reading it again restores it."""
    if sys.platform != "linux":
        return
    begin = -(-weight.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (weight.data_ptr() + weight.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if begin < end:  # an older Linux ignores the advice
        ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _MADV_PAGEOUT)


def _can_be_packed(linear: nn.Linear) -> bool:
    """Whether oneDNN is available, supports this dtype and computes the same; tested once for each dtype."""
    weight = linear.weight
    if weight.device.type != "cpu" or weight.is_inference():
        return False
    return _works(weight.dtype)


_tried: dict[torch.dtype, bool] = {}


def _works(dtype: torch.dtype) -> bool:
    # The operators belong to torch's compiler and not to its public interface.
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
