"""How well held-out translations find each other, before and after training."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from statistics import fmean

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hf_xlt.report.pictures import METHOD_COLORS, label, plain_text
from hf_xlt.runs.results import Results

WAYS = {"to_source": ("to the source language", "-"), "from_source": ("from the source language", "--")}


def plot_retrieval(results: Results, path: Path) -> None:
    """P@1 by training steps, a colour a method and a line a direction, means over seeds.

    Args:
        results: Of a recipe that distils.
        path: Where the PNG goes.
    """
    with plain_text():
        figure = Figure(figsize=(7.2, 4.4), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for method, colour in zip(results.methods, cycle(METHOD_COLORS), strict=False):
            runs = [run.retrieval for run in results.runs if run.curve.method == method]
            for way, (name, line) in WAYS.items():
                values = [100 * fmean(getattr(point, way) for point in points) for points in zip(*runs, strict=True)]
                steps = [point.step for point in runs[0]]
                axes.plot(steps, values, line, color=colour, marker="o", markersize=4, label=label(f"{method}, {name}"))
        axes.set_xlabel("training steps")
        axes.set_ylabel("P@1 in per cent (higher is better)")
        axes.set_title("Retrieval of held-out translations")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        figure.savefig(path, dpi=150)
