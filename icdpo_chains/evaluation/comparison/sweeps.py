"""`Sweep`: mean reward over the values of one setting, such as the number of demonstrations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.evaluation.statistics import Interval, bootstrap

__all__ = ["Sweep", "SweepPoint", "sweeps"]

_NAMES = {"k": "number of demonstrations", "n": "number of candidates", "source": "source of demonstrations"}


@dataclass(frozen=True)
class SweepPoint:
    """One value of the setting.

    Attributes:
        value: the value.
        reward: mean reward over prompts.
        prompts: the number of prompts with a reward.
    """

    value: float | str
    reward: Interval
    prompts: int


@dataclass(frozen=True)
class Sweep:
    """One setting; all others are equal.

    Attributes:
        factor: the setting: `"k"`, `"n"`, `"source"` or another.
        points: numbers in ascending order; texts in the order of the file.
    """

    factor: str
    points: tuple[SweepPoint, ...]

    @property
    def name(self) -> str:
        """The setting in words."""
        return _NAMES.get(self.factor, self.factor)

    @property
    def numeric(self) -> bool:
        """All values are numbers."""
        return all(not isinstance(point.value, str) for point in self.points)


def sweeps(records: Iterable[Mapping[str, Any]], *, seed: int = 0) -> list[Sweep]:
    """Builds sweeps from records with `factor`, `value` and `reward`, one for each prompt and value.

    Args:
        records: the records; those with the reward `None` are left out.
        seed: the seed of the bootstrap.

    Returns:
        One sweep for each factor: k, n and source first.

    Raises:
        InvalidInputError: a record lacks a field, or a field has an invalid value.
    """
    rewards: dict[str, dict[float | str, list[float]]] = {}
    for record in records:
        factor, value, reward = (record.get(name) for name in ("factor", "value", "reward"))
        if (
            not isinstance(factor, str)
            or isinstance(value, bool)
            or not isinstance(value, (int, float, str))
            or isinstance(reward, bool)
            or not isinstance(reward, (int, float, type(None)))
        ):
            raise InvalidInputError(
                f"the record {record.get('key')!r:.80} needs a factor (text), a value (number or text) and a "
                f"reward (number or null), not {factor!r:.40}, {value!r:.40} and {reward!r:.40}"
            )
        if reward is not None:
            rewards.setdefault(factor, {}).setdefault(value, []).append(float(reward))
    order = [*(name for name in _NAMES if name in rewards), *(name for name in rewards if name not in _NAMES)]
    return [_sweep(factor, rewards[factor], seed) for factor in order]


def _sweep(factor: str, rewards: Mapping[float | str, list[float]], seed: int) -> Sweep:
    points = [
        SweepPoint(value, bootstrap(values, seed=seed), len(values)) for value, values in rewards.items()
    ]
    sweep = Sweep(factor, tuple(points))
    if not sweep.numeric:
        return sweep
    return Sweep(factor, tuple(sorted(points, key=lambda point: float(point.value))))
