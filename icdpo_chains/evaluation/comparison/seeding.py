"""`seeded`: the global random numbers that trainers use, for the time of a block."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["seeded"]


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seeds all global random numbers, like the trainer, and restores them afterwards."""
    import numpy as np
    import torch

    plain, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
            torch.manual_seed(seed)
            yield
    finally:
        random.setstate(plain)
        np.random.set_state(of_numpy)
