"""Draws the tables of the house rules' page: the share of answers that follow the rules, by model and system.

python benchmarks/rules_figure.py docs/measurements/house_rules.md docs/measurements/house_rules.svg
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

COLORS = {"base": "#bdbdbd", "few-shot": "#757575", "S^, sum": "#4db6ac", "guided": "#00796b"}
LABELS = {
    "base": "without demonstrations",
    "few-shot": "with demonstrations",
    "S^, sum": "best of 8 by the score",
    "guided": "guided decoding, one answer",
}
MODEL = re.compile(r"^(?P<model>[\w.-]+) \((?:GGUF|the default model)\), ")
SHARE = re.compile(
    r"^\| \**(?P<system>[^*|]+?)\** \| \**(?P<share>\d+) \((?P<low>\d+) to (?P<high>\d+)\)\** \|"
)

Shares = dict[str, tuple[int, int, int]]


def read(page: str) -> dict[str, Shares]:
    """Returns share, low and high in percent, by model and system."""
    models: dict[str, Shares] = {}
    shares: Shares = {}
    for line in page.splitlines():
        if model := MODEL.match(line):
            shares = models.setdefault(model["model"], {})
        elif row := SHARE.match(line):
            shares[row["system"]] = (int(row["share"]), int(row["low"]), int(row["high"]))
    return models


def main() -> None:
    """Reads the page and writes the figure."""
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "icdpo-chains"  # the same figures give the same file
    models = read(Path(sys.argv[1]).read_text(encoding="utf-8"))
    figure, axes = plt.subplots(figsize=(8, 0.9 + 1.3 * len(models)), layout="constrained")
    ticks = []
    for group, (model, shares) in enumerate(models.items()):
        shown = [system for system in COLORS if system in shares]
        for place, system in enumerate(shown):
            share, low, high = shares[system]
            height = group * (len(COLORS) + 1) + place
            axes.barh(
                height,
                share,
                xerr=[[share - low], [high - share]],
                color=COLORS[system],
                label=LABELS[system] if group == 0 else None,
                error_kw={"ecolor": "#424242", "capsize": 3, "elinewidth": 1},
            )
            axes.text(1, height, f"{share} %", va="center", fontweight="bold", fontsize="small")
        ticks.append((group * (len(COLORS) + 1) + (len(shown) - 1) / 2, model))
    axes.set_yticks([place for place, _ in ticks], [model for _, model in ticks])
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="answers that follow the house rules, percent (95 % intervals)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(sys.argv[2], metadata={"Date": None}, facecolor="white")


if __name__ == "__main__":
    main()
