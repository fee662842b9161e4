"""How well validation pairs find each other, before and after training: a picture, a table, the Hub's figures."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from statistics import fmean

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hf_xlt.hub.card import CardTable, Score, public_name
from hf_xlt.report.pictures import METHOD_COLORS, label, plain_text
from hf_xlt.runs.results import Results

WAYS = {"to_source": ("to the source language", "-"), "from_source": ("from the source language", "--")}
# Field of a point, its heading, and what it is multiplied by.
PRECISION = (("to_source", "to source", 100), ("from_source", "from source", 100))
CLOSENESS = (("cosine", "cosine", 1), ("margin", "margin", 1))
SCORES = (
    ("src2trg_accuracy", "from_source", "Source to target"),
    ("trg2src_accuracy", "to_source", "Target to source"),
)


def plot_retrieval(results: Results, path: Path) -> None:
    """P@1 by training steps of a recipe that distils, a color a method and a line a direction, means over seeds."""
    with plain_text():
        figure = Figure(figsize=(7.2, 4.4), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for method, color in zip(results.methods, cycle(METHOD_COLORS), strict=False):
            runs = [run.retrieval for run in results.runs if run.curve.method == method]
            for way, (name, line) in WAYS.items():
                values = [100 * fmean(getattr(point, way) for point in points) for points in zip(*runs, strict=True)]
                steps = [point.step for point in runs[0]]
                axes.plot(steps, values, line, color=color, marker="o", markersize=4, label=label(f"{method}, {name}"))
        axes.set_xlabel("training steps")
        axes.set_ylabel("P@1 in per cent (higher is better)")
        axes.set_title("Retrieval of held-out translations")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        figure.savefig(path, dpi=150)


def retrieval_tables(results: Results) -> tuple[CardTable, ...]:
    """How well held-out translations find each other, a line a method, averaged over seeds; nothing if not measured."""
    runs = {
        method: [run.retrieval for run in results.runs if run.curve.method == method and run.retrieval]
        for method in results.methods
    }
    found = {method: of_method for method, of_method in runs.items() if of_method}
    if not found:
        return ()
    near = all(point.cosine is not None for of_method in found.values() for run in of_method for point in run)
    columns = (*PRECISION, *CLOSENESS) if near else PRECISION
    header = ["method", *(cell for _, name, _ in columns for cell in (f"{name}, start", "end"))]
    lines = tuple(
        (
            method,
            *(
                f"{scale * fmean(getattr(run[at], field) for run in of_method):.{1 if scale > 1 else 3}f}"
                for field, _, scale in columns
                for at in (0, -1)
            ),
        )
        for method, of_method in found.items()
    )
    title = "Held-out translations that are each other's nearest sentence, in per cent"
    by = "" if results.pooling is None else f"; sentence vectors by {results.pooling}"
    return (CardTable(title + by, tuple(header), lines),)


def retrieval_scores(results: Results, files: tuple[str, ...]) -> Iterator[Score]:
    """How many validation pairs, of `files`, find each other after training, both ways, a mean over seeds."""
    found = [run.retrieval[-1] for run in results.kept if run.retrieval]
    if not found or not files:
        return
    place = ", ".join(map(public_name, files))
    for metric, way, name in SCORES:
        mean = fmean(getattr(point, way) for point in found)
        yield Score("translation", metric, mean, f"{name} accuracy of nearest sentences", place)
