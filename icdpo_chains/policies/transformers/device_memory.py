"""The memory of a device: how much is free, which errors say that it is used up, and trying a computation."""

from __future__ import annotations

import gc
import logging
import re
from collections.abc import Callable
from typing import TypeVar

import torch

__all__ = ["free_bytes", "is_out_of_memory", "release_unused", "tried"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

# Not every such error of torch is an OutOfMemoryError: MPS, the CPU, cuBLAS and the CUDA runtime have others.
_USED_UP = re.compile(r"out of memory|can't allocate memory|not enough memory|ALLOC_FAILED")


def free_bytes(device: torch.device) -> int | None:
    """Returns the bytes that a computation can take on a device; `None` if the device does not say.

    On CUDA, memory that torch has reserved and does not use counts as free. On a CPU, it is the memory that
    the system can provide without swapping.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return max(0, torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    if device.type == "cpu":
        import psutil

        return int(psutil.virtual_memory().available)
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device's memory is used up."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and _USED_UP.search(str(error)) is not None


def release_unused() -> None:
    """Returns memory that nothing uses any more to the devices."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def tried(compute: Callable[[], T], release: Callable[[], None] | None = None) -> T | None:
    """Returns the result of a computation; `None` if the memory is used up, after it was released.

    Args:
        compute: the computation.
        release: drops memory that the computation does not need.
    """
    try:
        return compute()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        _log.debug("out of memory: %s", error)
    # Only here: the error's traceback held the tensors of the computation.
    if release is not None:
        release()
    release_unused()
    return None
