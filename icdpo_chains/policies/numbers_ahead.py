"""`NumbersAhead`: random numbers of many steps, copied to a device together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

__all__ = ["NumbersAhead"]

# The numbers of each row on the device; a step uses one to two of them.
_AHEAD = 256


class NumbersAhead:
    """The random numbers of rows. How many numbers a row has used is known on the device alone at first.

    Args:
        generators: the source of each row's numbers.
        device: the device that uses the numbers.

    Attributes:
        used: int64 [rows], the numbers used of those on the device.
    """

    def __init__(self, generators: Sequence[np.random.Generator], device: torch.device) -> None:
        self._generators, self._device = list(generators), device
        self._left = [np.empty(0, dtype=np.float32) for _ in generators]  # drawn and not used
        self._restart()

    def reserve(self, count: int) -> None:
        """Prepares for `count` numbers of each row until the next call of `have_used`."""
        if int(self._used.max()) + count > self._length:
            self._move(count)

    def next(self, places: torch.Tensor | None, using: torch.Tensor) -> torch.Tensor:
        """Returns the next number of each row, float32 [rows], in [0, 1).

        Args:
            places: int64 [rows], which rows; `None` for all.
            using: bool [rows], which of them use their number; others get it again.
        """
        if places is None:
            numbers = self._numbers.gather(1, self.used[:, None])[:, 0]
            self.used += using
            return numbers
        used = self.used.index_select(0, places)
        # Without a copy of the rows.
        numbers = self._numbers.view(-1).gather(0, places * self._length + used)
        self.used.index_add_(0, places, using.long())
        return numbers

    def have_used(self, used: np.ndarray) -> None:
        """Receives the values of `used` on the host."""
        self._used = used

    def keep(self, rows: Sequence[int]) -> None:
        """Keeps only these rows; not between `reserve` and `have_used`."""
        self._generators = [self._generators[row] for row in rows]
        self._left = [self._left[row][self._used[row] :] for row in rows]
        self._restart()

    def _restart(self) -> None:
        self._length = 0  # of the numbers on the device
        self._used = np.zeros(len(self._left), dtype=np.int64)
        self.used = torch.zeros(len(self._left), dtype=torch.long, device=self._device)

    def _move(self, count: int) -> None:
        """Copies numbers to the device, beginning with the first that are not used."""
        self.keep(range(len(self._left)))
        self._length = max(_AHEAD, count)
        for row, (generator, left) in enumerate(zip(self._generators, self._left, strict=True)):
            more = generator.random(max(0, self._length - len(left)), dtype=np.float32)
            self._left[row] = np.concatenate([left, more])
        table = np.stack([left[: self._length] for left in self._left])
        self._numbers = torch.from_numpy(table).to(self._device)
