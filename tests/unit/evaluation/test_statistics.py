"""Intervals and paired tests against their textbook forms."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains.evaluation.statistics import (
    Interval,
    bootstrap,
    mcnemar_p_value,
    paired_p_value,
    wilson,
)

NUMBERS = st.lists(st.floats(-100, 100), min_size=1, max_size=30)


@given(NUMBERS)
def test_the_interval_holds_the_mean_and_stays_among_the_values(values: list[float]) -> None:
    found = bootstrap(values)
    assert found.mean == pytest.approx(sum(values) / len(values), abs=1e-9)
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9
    assert found == bootstrap(values)


def test_the_interval_is_about_the_normal_one_and_narrows_with_the_level() -> None:
    draw = random.Random(0)
    values = [draw.gauss(3, 2) for _ in range(400)]
    found = bootstrap(values)
    assert found.high - found.low == pytest.approx(2 * 1.96 * 2 / 20, rel=0.15)
    inner = bootstrap(values, level=0.5)
    assert found.low < inner.low < inner.high < found.high
    assert bootstrap(values, seed=1) != found


def test_blocks_of_draws_are_those_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [float(i % 7) for i in range(40)]
    other = [float(i % 5) for i in range(40)]
    whole, p = bootstrap(values), paired_p_value(values, other)
    monkeypatch.setattr("icdpo_chains.evaluation.statistics._BLOCK", 1000)
    assert bootstrap(values) == whole
    assert paired_p_value(values, other) == p


def test_nothing_has_no_mean() -> None:
    for value in (bootstrap([]).mean, bootstrap([]).low, bootstrap([]).high, paired_p_value([], [])):
        assert math.isnan(value)
    assert bootstrap([2.0]) == Interval(2.0, 2.0, 2.0)


def slow_p_value(a: list[float], b: list[float]) -> float:
    """All signs of all differences, one by one."""
    differences = [x - y for x, y in zip(a, b, strict=True)]
    observed = abs(sum(differences))
    tried = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True))) >= observed - 1e-9
        for signs in itertools.product((-1, 1), repeat=len(differences))
    ]
    return sum(tried) / len(tried)


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=8))
def test_few_pairs_are_tested_exactly(pairs: list[tuple[int, int]]) -> None:
    a, b = ([float(x) for x in side] for side in zip(*pairs, strict=True))
    assert paired_p_value(a, b) == pytest.approx(slow_p_value(a, b))
    assert paired_p_value(a, b) == paired_p_value(b, a)


def test_many_pairs_come_near_the_exact_value() -> None:
    draw = random.Random(1)
    a = [draw.choice([0.0, 1.0]) for _ in range(16)]
    b = [0.5 if i % 4 == 0 else 0.0 for i in range(16)]
    assert paired_p_value(a, b) == pytest.approx(slow_p_value(a, b), abs=0.02)


def test_a_difference_is_seen_and_none_is_not() -> None:
    draw = random.Random(2)
    a = [draw.gauss(0, 1) for _ in range(200)]
    assert paired_p_value(a, a) == 1.0
    assert paired_p_value(a, [x + 0.5 + draw.gauss(0, 0.1) for x in a]) < 0.001
    assert paired_p_value(a, [x + draw.gauss(0, 1) for x in a]) > 0.01


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: bootstrap([1.0, math.nan]), "value 1 is nan"),
        (lambda: bootstrap([1.0], level=1), "level is 1"),
        (lambda: paired_p_value([1.0], []), "1 and 0 values"),
        (lambda: paired_p_value([math.inf], [0.0]), "value 0 is inf"),
    ],
)
def test_wrong_arguments_are_named(call: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()  # type: ignore[operator]


def test_the_wilson_interval_is_the_published_one() -> None:
    found = wilson(15, 148)  # Newcombe 1998, table I, method 3
    assert (found.low, found.high) == (pytest.approx(0.0624, abs=5e-5), pytest.approx(0.1605, abs=5e-5))
    assert wilson(0, 20).low == 0
    assert wilson(20, 20).high == 1
    assert math.isnan(wilson(0, 0).mean)
    with pytest.raises(ValueError, match="3 successes of 2"):
        wilson(3, 2)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=10))
def test_mcnemar_is_the_sign_test_of_all_flips(pairs: list[tuple[bool, bool]]) -> None:
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    expected = paired_p_value([float(x) for x in a], [float(y) for y in b]) if pairs else 1.0
    assert mcnemar_p_value(a, b) == pytest.approx(expected)
    assert mcnemar_p_value(a, b) == mcnemar_p_value(b, a)


def test_mcnemar_needs_pairs() -> None:
    with pytest.raises(ValueError, match="1 and 2 values"):
        mcnemar_p_value([True], [True, False])
