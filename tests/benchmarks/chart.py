"""Draws the medians of the most important workloads as an SVG for the README."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .report import Machine, Results
from .workload import FARHAND

WORKLOADS: Final = (
    "`true` from a shell's loop",
    "`true`, 64 in flight",
    "stdout of",
    "key echo, 5 ms",
    "`hostname` on 64 connections, connect",
    "memory of the service",
)
"""How the names of the drawn workloads begin."""

OURS: Final = "#0b7a75"
OTHERS: Final = "#b8bdc4"


def draw(results: Sequence[Results], machine: Machine, file: Path) -> None:
    """Write a chart with one panel for each drawn workload among `results`; none if there is none of them."""
    drawn = [result for start in WORKLOADS for result in results if result.workload.name.startswith(start)]
    if not drawn:
        return
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    # The same numbers give the same file: no random ids, no date.
    mpl.rcParams.update({"svg.hashsalt": "farhand", "font.size": 8, "font.family": "sans-serif"})
    rows = (len(drawn) + 1) // 2
    figure, axes = plt.subplots(rows, 2, figsize=(10, 2.1 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(drawn) :]:
        axis.set_visible(False)
    for axis, result in zip(axes.flat, drawn, strict=False):
        names = list(result.samples)
        values = [result.median(name) for name in names]
        bars = axis.barh(names, values, color=[OURS if name.startswith(FARHAND) else OTHERS for name in names])
        axis.bar_label(bars, fmt=f" %.{result.workload.digits}f")
        axis.invert_yaxis()
        axis.margins(x=0.15)
        axis.spines[["top", "right", "bottom"]].set_visible(False)
        axis.xaxis.set_visible(False)
        better = "more" if result.workload.more_is_better else "less"
        axis.set_title(
            f"{result.workload.name.replace('`', '')}\n{result.workload.unit}, {better} is better",
            loc="left",
            fontsize=8,
        )
    figure.supxlabel(f"Measured {machine}", fontsize=7)
    figure.savefig(file, format="svg", metadata={"Date": None})
    plt.close(figure)
