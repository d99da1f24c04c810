"""`Calibration`: whether a larger margin means a more reliable preference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from icdpo_chains.errors import ICDPOError, InvalidInputError
from icdpo_chains.evaluation.accuracy.margins import right

__all__ = ["Calibration", "CalibrationBin", "calibrate", "plot_calibration"]

_WIDEST = 1e4  # the highest temperature, in typical margins; every confidence is then about 0.5
_SMALLEST = 1e-9  # the smallest typical margin, as a share of the largest margin


@dataclass(frozen=True)
class CalibrationBin:
    """Pairs with about the same confidence.

    Attributes:
        confidence: the mean confidence, from 0.5 to 1.
        accuracy: the share of pairs that are ranked right.
        pairs: how many pairs there are.
    """

    confidence: float
    accuracy: float
    pairs: int


@dataclass(frozen=True)
class Calibration:
    """The relation of confidence and accuracy.

    Attributes:
        temperature: the divisor of the margins; NaN without pairs.
        bins: the bins that contain a pair, by rising confidence.
        error: the expected calibration error: the mean distance of confidence and accuracy, weighted by
            pairs.
    """

    temperature: float
    bins: tuple[CalibrationBin, ...]
    error: float


def calibrate(margins: Sequence[float], *, bins: int = 10) -> Calibration:
    """Calibrates margins: a pair is ranked right with a probability of sigmoid(|margin| / temperature).

    The temperature maximizes the likelihood of the observed preferences (temperature scaling, Guo et al.,
    arXiv 1706.04599); it is fitted on these same margins. Margins without information get a temperature so
    high that every confidence is about 0.5.

    Args:
        margins: the measure of the chosen answer minus that of the rejected one; margins that are not finite
            are left out.
        bins: how many equal intervals of confidence between 0.5 and 1.

    Raises:
        ValueError: `bins` is below 1.
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}, and must be at least 1")
    array = np.array([margin for margin in margins if math.isfinite(margin)], dtype=np.float64)
    if not len(array):
        return Calibration(math.nan, (), math.nan)
    temperature = _temperature(array)
    confidence = 1 / (1 + np.exp(-np.abs(array) / temperature))
    correct = np.array(list(map(right, array.tolist())))
    place = np.minimum(((confidence - 0.5) * 2 * bins).astype(int), bins - 1)
    found = tuple(
        CalibrationBin(
            float(confidence[place == number].mean()),
            float(correct[place == number].mean()),
            int((place == number).sum()),
        )
        for number in np.unique(place)
    )
    error = sum(abs(one.confidence - one.accuracy) * one.pairs for one in found) / len(array)
    return Calibration(temperature, found, error)


def _temperature(margins: np.ndarray) -> float:
    from scipy.optimize import minimize_scalar

    sizes = np.abs(margins)
    # A median close to 0 is no scale: a division by it overflows.
    typical = max(float(np.median(sizes)), _SMALLEST * float(sizes.max()), _WIDEST * np.finfo(float).tiny)

    def loss(log_temperature: float) -> float:
        # -log sigmoid, without overflow.
        return float(np.logaddexp(0, -margins / typical * math.exp(-log_temperature)).mean())

    widest = math.log(_WIDEST)
    return typical * math.exp(float(minimize_scalar(loss, bounds=(-widest, widest), method="bounded").x))


def plot_calibration(curves: Mapping[str, Calibration], path: str | Path) -> None:
    """Draws accuracy against confidence, a line for each curve, as an SVG file.

    Equal curves give equal files.

    Args:
        curves: by the name in the legend.
        path: the file; its name ends in `.svg`. Missing directories are made.

    Raises:
        ICDPOError: the extra `eval` is not installed.
        InvalidInputError: the name has another ending.
        OSError: the file can't be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".svg":
        raise InvalidInputError(f"the plot is an SVG file, and {str(path)!r} does not end in .svg: rename it")
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise ICDPOError('plots need an extra: pip install "icdpo-chains[eval]"') from None
    figure = Figure(figsize=(7, 5.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0.5, 1], [0.5, 1], color="0.6", linestyle="--", label="calibrated")
    for name, curve in curves.items():
        # In a file name, matplotlib reads $ as a formula, and hides a label that begins with an underscore.
        label = f"{name} (error {curve.error:.3f})".replace("$", r"\$").lstrip("_")
        axes.plot(
            [one.confidence for one in curve.bins],
            [one.accuracy for one in curve.bins],
            marker="o",
            label=label,
        )
    axes.set(
        xlabel="confidence: sigmoid(margin / temperature)", ylabel="share ranked right", ylim=(-0.02, 1.02)
    )
    axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    # A fixed salt and no date: equal curves give equal files.
    with matplotlib.rc_context({"svg.hashsalt": "icdpo"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
