"""Charts as SVG elements for an HTML page, in the page's colours."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from icdpo_chains.errors import ICDPOError
from icdpo_chains.evaluation.report.svg import CONTROL, GRID, OTHER, OWN, TEXT, inline_svg
from icdpo_chains.evaluation.report.tables import visible
from icdpo_chains.evaluation.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

__all__ = ["ChartPoint", "cost_chart", "sweep_chart"]

_COLOURS = {"own": OWN, "other": OTHER, "control": CONTROL}
# The positions to try for a label, in points from its mark, with its alignment.
_PLACES = (
    (7, 5, "left", "bottom"),
    (-7, 5, "right", "bottom"),
    (7, -5, "left", "top"),
    (-7, -5, "right", "top"),
    (7, 18, "left", "bottom"),
    (-7, 18, "right", "bottom"),
    (7, -18, "left", "top"),
    (-7, -18, "right", "top"),
)


@dataclass(frozen=True)
class ChartPoint:
    """One system in a chart.

    Attributes:
        label: the label next to the mark.
        cost: the position on the horizontal axis.
        reward: the position on the vertical axis, with an interval.
        kind: `"own"` for ICDPO, `"control"` for controls (drawn hollow), `"other"` for other methods.
    """

    label: str
    cost: float
    reward: Interval
    kind: str = "other"


@contextmanager
def _in_any_script() -> Iterator[None]:
    """Suppresses warnings of missing glyphs: the browser draws the characters."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


@_in_any_script()
def cost_chart(points: Sequence[ChartPoint], *, cost: str, name: str) -> str:
    """Draws quality against cost.

    Args:
        points: the systems; points with numbers that are not finite are left out.
        cost: names the horizontal axis. It is logarithmic unless a cost is 0.
        name: the prefix of each id in the SVG; unique within a page.

    Returns:
        An `<svg>` element with a text alternative; equal points give equal elements.

    Raises:
        ICDPOError: matplotlib is not installed.
    """
    points = [point for point in points if math.isfinite(point.cost) and math.isfinite(point.reward.mean)]
    figure, axes = _figure(8.0, 4.6)
    for point in points:
        colour = _COLOURS[point.kind]
        _errorbar(axes, [point.cost], [point.reward], color=colour, hollow=point.kind == "control")
    if points and all(point.cost > 0 for point in points):
        axes.set_xscale("log")
        _plain_ticks(axes, [point.cost for point in points])
    axes.margins(x=0.12, y=0.12)
    axes.set_xlabel(cost)
    axes.set_ylabel("mean reward")
    _label_points(figure, axes, points)
    said = "; ".join(
        f"{visible(point.label)}: {_spoken(point.reward)} at {point.cost:.3g}"
        for point in sorted(points, key=lambda item: -item.reward.mean)
    )
    return inline_svg(figure, name, f"Mean reward against {cost}", said)


@_in_any_script()
def sweep_chart(values: Sequence[float | str], rewards: Sequence[Interval], *, axis: str, name: str) -> str:
    """Draws mean reward over the values of one setting.

    Args:
        values: numbers, ascending, or texts.
        rewards: one for each value.
        axis: names the horizontal axis.
        name: the prefix of each id in the SVG; unique within a page.

    Returns:
        An `<svg>` element with a text alternative; equal values give equal elements.

    Raises:
        ICDPOError: matplotlib is not installed.
    """
    figure, axes = _figure(5.2, 3.4)
    numeric = all(not isinstance(value, str) for value in values)
    places = [float(value) for value in values] if numeric else [float(i) for i in range(len(values))]
    _errorbar(axes, places, rewards, color=OWN, line=numeric)
    axes.set_xticks(places)
    axes.set_xticklabels([_short(_shown(value)) for value in values], parse_math=False)
    axes.margins(x=0.15, y=0.15)
    axes.set_xlabel(_short(axis), parse_math=False)
    axes.set_ylabel("mean reward")
    said = "; ".join(
        f"{_shown(value)}: {_spoken(reward)}" for value, reward in zip(values, rewards, strict=True)
    )
    return inline_svg(figure, name, f"Mean reward against {visible(axis)}", said)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ICDPOError(
            'charts need matplotlib, which is not installed: pip install "icdpo-chains[eval]"'
        ) from None
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)  # measures texts, so that labels do not overlap
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GRID)
    axes.tick_params(which="both", color=GRID, labelcolor=TEXT)
    axes.xaxis.label.set_color(TEXT)
    axes.yaxis.label.set_color(TEXT)
    axes.grid(color=GRID, linewidth=0.5)
    axes.set_axisbelow(True)
    return figure, axes


def _errorbar(
    axes: Axes,
    places: Sequence[float],
    rewards: Sequence[Interval],
    *,
    color: str,
    line: bool = False,
    hollow: bool = False,
) -> None:
    means = [reward.mean for reward in rewards]
    below = [max(0.0, reward.mean - reward.low) for reward in rewards]
    above = [max(0.0, reward.high - reward.mean) for reward in rewards]
    axes.errorbar(
        places,
        means,
        yerr=[below, above],
        fmt="o-" if line else "o",
        color=color,
        markerfacecolor="none" if hollow else color,
        markersize=6,
        capsize=3,
        elinewidth=1.2,
    )


def _plain_ticks(axes: Axes, costs: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    # Within one power of ten, labels at powers alone would leave the axis without a number.
    narrow = max(costs) / min(costs) < 100
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _label_points(figure: Figure, axes: Axes, points: Sequence[ChartPoint]) -> None:
    # Matplotlib's layout ignores labels at marks: each label takes the position that hides least.
    figure.draw_without_rendering()
    taken: list[Any] = []
    for point in points:
        heights = (point.reward.low, point.reward.mean, point.reward.high)
        (x, low), (_, mean), (_, high) = (axes.transData.transform((point.cost, y)) for y in heights)
        taken += [_box(x - 4, mean - 4, x + 4, mean + 4), _box(x - 1, low, x + 1, high)]
    for point in points:
        extents = {}
        for place in _PLACES:
            label = _annotate(axes, point, place)
            extents[place] = label.get_window_extent()
            label.remove()
        best = min(_PLACES, key=lambda place: _hidden(extents[place], taken, axes.bbox))
        _annotate(axes, point, best)
        taken.append(extents[best])


def _hidden(extent: Any, taken: Sequence[Any], frame: Any) -> int:
    outside = extent.x0 < frame.x0 or extent.x1 > frame.x1 or extent.y0 < frame.y0 or extent.y1 > frame.y1
    return sum(bool(extent.overlaps(other)) for other in taken) + 100 * bool(outside)


def _annotate(axes: Axes, point: ChartPoint, place: tuple[int, int, str, str]) -> Annotation:
    right, up, horizontal, vertical = place
    label = axes.annotate(
        _short(point.label),
        (point.cost, point.reward.mean),
        xytext=(right, up),
        textcoords="offset points",
        horizontalalignment=horizontal,
        verticalalignment=vertical,
        fontsize=9,
        color=TEXT,
        parse_math=False,
    )
    label.set_in_layout(False)
    return label


def _box(x0: float, y0: float, x1: float, y1: float) -> Any:
    from matplotlib.transforms import Bbox

    return Bbox.from_extents(x0, y0, x1, y1)


def _spoken(interval: Interval) -> str:
    return f"{interval.mean:.3g} ({interval.low:.3g} to {interval.high:.3g})"


def _shown(value: float | str) -> str:
    return visible(value) if isinstance(value, str) else f"{value:g}"


def _short(text: str) -> str:
    line = " ".join(visible(text).split())
    return line if len(line) <= 40 else line[:39] + "\u2026"
