"""Matrix products on a CPU with weights laid out for them, once instead of at every call."""

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

# Laid out for a batch of this size. With 8, a row's result was not seen to depend on the rows beside it.
_ROWS = 8

_MADV_PAGEOUT = 21


class PackedLinears:
    """The linear layers of a model, with oneDNN's layout of their weights beside their own.

    oneDNN lays a weight out anew at each product, which costs much of the time where there are few rows. What
    is packed here is the same numbers, in as much memory again; a weight that is mapped from a file need not
    stay in memory beside them. Layers that are given the same rows (the projections to queries, keys and
    values; a gate and what it gates) are packed as one, since a product of few rows costs much by itself. The
    model is changed only within `used`: for its owner it stays as it is.

    Args:
        model: a model on a CPU; on another device, nothing is packed.
        most_bytes: a model whose linear layers are larger is left as it is; `None` for no limit.
        probe: makes the model compute something small, which shows what is given the same rows; without it,
            each layer is packed by itself.
    """

    def __init__(
        self, model: nn.Module, most_bytes: int | None, probe: Callable[[], object] | None = None
    ) -> None:
        self._linears = [
            module
            for module in model.modules()
            # A forward of its own belongs to whoever has hooked it there.
            if type(module) is nn.Linear and "forward" not in vars(module)
        ]
        size = sum(linear.weight.nbytes for linear in self._linears)
        if not all(map(_can_be_packed, self._linears)) or (most_bytes is not None and size > most_bytes):
            self._linears = []
        self._probe = probe
        self._groups: list[_Group] | None = None if self._linears else []

    @contextmanager
    def used(self) -> Iterator[None]:
        """Lets the model compute with the packed weights, in this block; a changed weight is packed anew."""
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
    """Linear layers that are given the same rows, in the order in which they are: one product for all."""

    def __init__(self, linears: list[nn.Linear]) -> None:
        self.linears = linears
        self._sizes = [linear.out_features for linear in linears]
        self._state: list[tuple[int, int]] = []
        self._last: tuple[torch.Tensor, Sequence[torch.Tensor]] | None = None

    def pack(self) -> None:
        """Packs the weights, unless they are those that are packed already."""
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
        self._last = None  # of a pass that broke off, with the weights of then
        self._state = state

    def product(self, place: int, rows: torch.Tensor) -> torch.Tensor:
        """Returns what the layer at this place makes of the rows; computes that of all at the first one."""
        last = self._last
        if last is None or last[0] is not rows:
            last = (rows, torch.split(_linear(self._packed, self._bias, rows), self._sizes, dim=-1))
        self._last = last if place < len(self._sizes) - 1 else None
        return last[1][place]


def _given_the_same(linears: Sequence[nn.Linear], probe: Callable[[], object]) -> list[list[nn.Linear]]:
    """Returns the layers that are given one and the same tensor while the probe runs, group by group."""
    # With the tensor as it was: one that has been written to is not the same any more.
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
    # A layer that is used several times is packed by itself.
    uses = Counter(linear for *_, group in groups.values() for linear in group)
    once = [[linear for linear in group if uses[linear] == 1] for *_, group in groups.values()]
    return [group for group in once if len(group) > 1]


def _linear(packed: torch.Tensor, bias: torch.Tensor | None, rows: torch.Tensor) -> torch.Tensor:
    # A row by itself oneDNN adds up in another order: the last candidate must not depend on being the last.
    alone = rows.shape[:-1].numel() == 1
    given = rows.reshape(1, -1).expand(2, -1) if alone else rows
    result: torch.Tensor = torch.ops.mkldnn._linear_pointwise.default(given, packed, bias, "none", [], "")
    return result[0].view(*rows.shape[:-1], -1) if alone else result


def _pack(weight: torch.Tensor) -> torch.Tensor:
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight.default(weight.detach(), _ROWS)
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
