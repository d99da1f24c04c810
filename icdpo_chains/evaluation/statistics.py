"""Intervals and paired tests: the uncertainty of a mean, of a share, and of the difference of two systems."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Interval", "bootstrap", "mcnemar_p_value", "paired_p_value", "share", "wilson"]

_DRAWS = 4000
_FLIPS = 10_000
_ENUMERATED = 13  # 2**13 sign patterns are fewer than the random draws
_BLOCK = 1_000_000  # numbers drawn at once


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval; all NaN without values.

    Attributes:
        mean: the mean of the values.
        low: the lower end of the interval.
        high: the upper end of the interval.
    """

    mean: float
    low: float
    high: float


def bootstrap(values: Sequence[float], *, seed: int = 0, level: float = 0.95) -> Interval:
    """Returns the mean with its percentile bootstrap interval (Efron 1979), of 4,000 draws.

    Args:
        values: finite numbers.
        seed: the seed of the draws.
        level: the share of draws inside the interval.

    Raises:
        ValueError: a value is not finite, or the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}, and must be between 0 and 1")
    array = _finite(values)
    if not len(array):
        return Interval(math.nan, math.nan, math.nan)
    rng = np.random.default_rng(seed)
    means = np.concatenate(
        [
            array[rng.integers(len(array), size=(rows, len(array)))].mean(axis=1)
            for rows in _blocks(len(array), _DRAWS)
        ]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(array.mean()), float(low), float(high))


def paired_p_value(a: Sequence[float], b: Sequence[float], *, seed: int = 0) -> float:
    """Returns the two-sided p-value of a sign-flip permutation test on the paired differences.

    Under the null hypothesis, each difference has either sign with equal probability (Fisher 1935). For up to
    13 nonzero differences, all sign patterns are enumerated; for more, 10,000 are drawn.

    Args:
        a: one value for each item.
        b: the other value for the same items, in the same order.
        seed: the seed of the draws.

    Returns:
        From above 0 to 1; 1 if nothing differs, NaN without items.

    Raises:
        ValueError: the two differ in length, or a value is not finite.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} values: a paired test needs both values of each item")
    differences = _finite(a) - _finite(b)
    if not len(differences):
        return math.nan
    differences = differences[differences != 0]  # a zero has no sign
    count = len(differences)
    if not count:
        return 1.0
    # Sums that differ only by rounding count as equal.
    observed = abs(differences.sum()) - 1e-9 * np.abs(differences).sum()
    if count <= _ENUMERATED:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=count)))
        return float(np.mean(np.abs(signs @ differences) >= observed))
    rng = np.random.default_rng(seed)
    extreme = sum(
        int(np.sum(np.abs(rng.choice((-1.0, 1.0), size=(rows, count)) @ differences) >= observed))
        for rows in _blocks(count, _FLIPS)
    )
    return (extreme + 1) / (_FLIPS + 1)  # the observed signs are one draw: never 0


def share(outcomes: Sequence[float], *, seed: int = 0) -> Interval:
    """Returns the mean of outcomes with its 95 % interval, which is never empty.

    The interval is that of `bootstrap`, and that of `wilson` if all outcomes are equal: a bootstrap of equal
    values has no width, however few they are.

    Args:
        outcomes: 1 for right, 0 for wrong, 0.5 for a tie.
        seed: the seed of the bootstrap.

    Raises:
        ValueError: an outcome is not between 0 and 1.
    """
    if len(set(outcomes)) == 1:
        return wilson(sum(outcomes), len(outcomes))
    return bootstrap(outcomes, seed=seed)


def wilson(successes: float, count: int) -> Interval:
    """Returns a share with its 95 % score interval (Wilson 1927).

    Args:
        successes: from 0 to `count`; a tie counts half.
        count: the number of trials; for 0, all three numbers are NaN.

    Raises:
        ValueError: a number is out of range.
    """
    if not 0 <= successes <= count:
        raise ValueError(f"{successes} successes of {count}: give from 0 to {count}")
    if not count:
        return Interval(math.nan, math.nan, math.nan)
    share, z = successes / count, 1.959963984540054
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    # A share of 0 or 1 is an end of its interval, whatever the rounding.
    return Interval(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


def mcnemar_p_value(a: Sequence[bool], b: Sequence[bool]) -> float:
    """Returns the two-sided p-value of the exact McNemar test (McNemar 1947): the sign test of the pairs.

    Args:
        a: success of one system, for each item.
        b: success of the other system for the same items, in the same order.

    Returns:
        From above 0 to 1; 1 if no pair differs.

    Raises:
        ValueError: the two differ in length.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} values: a paired test needs both values of each item")
    only_a = sum(bool(x) and not y for x, y in zip(a, b, strict=True))
    only_b = sum(bool(y) and not x for x, y in zip(a, b, strict=True))
    differing = only_a + only_b
    tail = sum(math.comb(differing, i) for i in range(min(only_a, only_b) + 1))
    return min(1.0, tail / (1 << differing) * 2)


def _finite(values: Sequence[float]) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    wrong = np.flatnonzero(~np.isfinite(array))
    if len(wrong):
        raise ValueError(f"value {wrong[0]} is {array[wrong[0]]}: leave out values that are not finite")
    return array


def _blocks(width: int, rows: int) -> list[int]:
    """Yields row counts that add up to `rows`, small enough that a block of this width fits into memory."""
    size = max(1, _BLOCK // width)
    return [min(size, rows - start) for start in range(0, rows, size)]
