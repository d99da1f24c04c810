"""Counts what would stop a GPU: on a CPU the same calls cost nothing, so only a count can show them."""

from collections import Counter
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# Results that the host reads: `item`, `bool`, an index by a tensor without dimensions, a shape that depends on values.
_READS = {
    "_local_scalar_dense",
    "equal",
    "masked_select",
    "nonzero",
    "repeat_interleave",
    "unique_consecutive",
    "_unique2",
}
_INDEXES = {"index", "index_put", "index_put_", "_index_put_impl_"}
_TO_HOST = {"cpu", "tolist"}


class Waits(TorchFunctionMode):
    """In a `with` block: counts transfers to the host, and copies of host data to the device.

    Attributes:
        to_host: the transfers to the host, by the name of the operation.
        to_device: the copies to the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.to_host: Counter[str] = Counter()
        self.to_device = 0
        self._dispatch = _Dispatch(self)

    def __enter__(self) -> "Waits":
        self._dispatch.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._dispatch.__exit__(*error)

    def clear(self) -> None:
        self.to_host.clear()
        self.to_device = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in _TO_HOST or (name == "to" and any(str(each) == "cpu" for each in args[1:])):
            self.to_host[name] += 1
            if name == "tolist":  # reads one number after the other
                with torch._C.DisableTorchFunction():
                    return func(*args, **(kwargs or {}))
        elif name == "from_numpy":
            self.to_device += 1
        return func(*args, **(kwargs or {}))


class _Dispatch(TorchDispatchMode):
    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self._waits = waits

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masks = name in _INDEXES and any(
            each is not None and each.dtype in (torch.bool, torch.uint8) for each in args[1]
        )
        if name in _READS or masks:
            self._waits.to_host[name] += 1
        elif name in ("lift_fresh", "lift_fresh_copy"):  # data of Python objects
            self._waits.to_device += 1
        return func(*args, **(kwargs or {}))
