"""Draws what `curves.py` measured: seconds against candidates, context and new tokens, with the floor.

python benchmarks/plots.py curves.json docs/measurements/speed.svg
"""

from __future__ import annotations

import json
from pathlib import Path

import typer
from matplotlib import pyplot as plt

AXES = {"candidates": "n", "context": "context", "new tokens": "new"}


def main(measured: Path, drawing: Path) -> None:
    """Writes one drawing with three panels."""
    whole = json.loads(measured.read_text())
    plt.rcParams["svg.hashsalt"] = "icdpo-chains"  # the same figures give the same file
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for panel, (title, axis) in zip(panels, AXES.items(), strict=True):
        rows = whole["figures"][title]
        places = [row[axis] for row in rows]
        panel.plot(places, [row["sampling_s"] for row in rows], "o-", label="sampling")
        panel.plot(places, [row["sampling_s"] + row["scoring_s"] for row in rows], "s-", label="and scoring")
        panel.plot(places, [row["floor_s"] for row in rows], "--", color="grey", label="floor")
        panel.set(xlabel=title, ylim=(0, None), xscale="log", xticks=places)
        panel.set_xticks([], minor=True)
        panel.set_xticklabels(map(str, places))
    panels[0].set_ylabel("seconds")
    panels[0].legend(frameon=False)
    machine = f"{whole['machine']}, {whole['bytes_per_s'] / 1e9:.0f} GB/s, {whole['flops'] / 1e9:.0f} GFLOP/s"
    figure.suptitle(f"{whole['model']} on {machine}", fontsize=10)
    figure.savefig(drawing, metadata={"Date": None})


if __name__ == "__main__":
    typer.run(main)
