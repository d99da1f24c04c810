"""`plot_rules`: the share of answers that follow the rules, a bar for each system."""

from __future__ import annotations

from pathlib import Path

from icdpo_chains.errors import ICDPOError
from icdpo_chains.evaluation.rules.report import RulesReport

__all__ = ["plot_rules"]

_OWN = {"s_mean", "s_sum", "s_hat_mean", "s_hat_sum", "guided", "guided_of_n"}


def plot_rules(report: RulesReport, path: str | Path) -> None:
    """Draws the report as an SVG file; equal reports give equal files.

    Args:
        report: the figures.
        path: the file. Missing directories are made.

    Raises:
        ICDPOError: the extra `eval` is not installed.
        OSError: the file can't be written.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise ICDPOError('plots need an extra: pip install "icdpo-chains[eval]"') from None
    systems = report.systems[::-1]  # matplotlib draws from the bottom
    shares = [100 * system.follows.mean for system in systems]
    errors = [
        [100 * (system.follows.mean - system.follows.low) for system in systems],
        [100 * (system.follows.high - system.follows.mean) for system in systems],
    ]
    figure = Figure(figsize=(7, 0.6 + 0.34 * len(systems)), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(
        [system.label for system in systems],
        shares,
        xerr=errors,
        color=["#00796b" if system.name in _OWN else "#9e9e9e" for system in systems],
        error_kw={"ecolor": "#424242", "capsize": 3, "elinewidth": 1},
    )
    for place, share in enumerate(shares):
        axes.text(1, place, f"{share:.0f}", va="center", color="white", fontweight="bold", fontsize="small")
    axes.set(xlim=(0, 100), xlabel="answers that follow the rules, percent (95 % intervals)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.patch.set_facecolor("white")  # readable on a dark page too
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A fixed salt and no date: equal reports give equal files.
    with matplotlib.rc_context({"svg.hashsalt": "icdpo"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
