"""Confidence against accuracy, on margins whose calibration is known."""

from __future__ import annotations

import math
import random
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from icdpo_chains.errors import ICDPOError, InvalidInputError
from icdpo_chains.evaluation.accuracy.calibration import calibrate, plot_calibration


def drawn(temperature: float, count: int = 4000) -> list[float]:
    """Margins that are right as often as their size says."""
    draw = random.Random(0)
    sizes = [draw.uniform(0, 4) for _ in range(count)]
    return [size if draw.random() < 1 / (1 + math.exp(-size / temperature)) else -size for size in sizes]


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_the_temperature_is_found_and_the_error_is_small(temperature: float) -> None:
    found = calibrate(drawn(temperature))
    assert found.temperature == pytest.approx(temperature, rel=0.1)
    assert found.error < 0.02
    scaled = calibrate([1000 * margin for margin in drawn(temperature)])
    assert scaled.temperature == pytest.approx(1000 * found.temperature, rel=1e-3)


def test_margins_that_say_nothing_or_the_opposite_give_no_confidence() -> None:
    for margins in ([1.0, -1.0] * 50, [-1.0, -2.0, -3.0], [0.0, 0.0]):
        found = calibrate(margins)
        assert all(one.confidence == pytest.approx(0.5, abs=0.001) for one in found.bins)


def test_margins_that_are_always_right_give_full_confidence() -> None:
    (only,) = calibrate([1.0, 2.0, 3.0]).bins
    assert (only.confidence, only.accuracy, only.pairs) == (pytest.approx(1), 1, 3)


@given(st.lists(st.floats(-50, 50), max_size=40), st.integers(1, 12))
@example([0.0, 1.0, 2.225073858507203e-309], 1)  # the median is next to nothing
@example([5e-324, -5e-324, 5e-324], 3)
@example([0.0, 0.0], 2)
def test_the_error_is_that_of_every_pair_put_in_its_bin(margins: list[float], bins: int) -> None:
    found = calibrate([*margins, math.inf, math.nan], bins=bins)
    assert sum(one.pairs for one in found.bins) == len(margins)
    by_bin: dict[int, list[tuple[float, float]]] = {}
    for margin in margins:
        confidence = 1 / (1 + math.exp(-abs(margin) / found.temperature))
        correct = 0.5 if margin == 0 else float(margin > 0)
        by_bin.setdefault(min(int((confidence - 0.5) * 2 * bins), bins - 1), []).append((confidence, correct))
    slow = sum(abs(sum(c for c, _ in pairs) - sum(r for _, r in pairs)) for pairs in by_bin.values())
    if margins:
        assert found.error == pytest.approx(slow / len(margins), abs=1e-9)
    else:
        assert math.isnan(found.error)


def test_no_bins() -> None:
    with pytest.raises(ValueError, match="bins is 0"):
        calibrate([1.0], bins=0)


def test_the_plot_is_an_svg_with_its_names_and_the_same_each_time(tmp_path: Path) -> None:
    curves = {"S^ mean, $x$ <b>": calibrate(drawn(1.0, 200)), "_hidden": calibrate([])}
    files = [tmp_path / "made" / "a.svg", tmp_path / "b.svg"]
    for file in files:
        plot_calibration(curves, file)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert ElementTree.fromstring(files[0].read_text()).tag.endswith("svg")
    assert "$x$ &lt;b&gt;" in files[0].read_text()
    assert "hidden" in files[0].read_text()


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"\.svg"):
        plot_calibration({}, tmp_path / "plot.png")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ICDPOError, match=r'pip install "icdpo-chains\[eval\]"'):
        plot_calibration({}, tmp_path / "plot.svg")
