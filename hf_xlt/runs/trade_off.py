"""What a model of many languages gives up in its first one for the others: one table, one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hf_xlt.hub.card import CardTable
from hf_xlt.report.pictures import METHOD_COLORS, label, plain_text
from hf_xlt.runs.results import Results, Run


@dataclass(frozen=True)
class Panel:
    """One side of the trade-off: its title, the unit and which way is better, and method → a value a seed."""

    title: str
    axis: str
    values: dict[str, list[float]]


def final_bits(run: Run) -> dict[str, float]:
    """Language → held-out bits per byte after training, the first language first."""
    return {point.language: point.bits_per_byte for point in run.languages}


def transfer_gap(run: Run) -> float:
    """Bits per byte of the other languages, a mean, above those of the first; 0 where there is no other.

    Languages differ in bits per byte however well they are learned: compare the gap between models, not with 0.
    """
    first, *others = final_bits(run).values()
    return fmean(others) - first if others else 0.0


def language_tables(results: Results) -> tuple[CardTable, ...]:
    """Each language's bits per byte after training and the gap, a line a method; nothing for models of one language."""
    runs = _runs(results)
    if not runs:
        return ()
    languages = tuple(final_bits(next(iter(runs.values()))[0]))
    lines = [
        (
            method,
            *(_mean([final_bits(run)[language] for run in found]) for language in languages),
            _mean([transfer_gap(run) for run in found]),
        )
        for method, found in runs.items()
    ]
    caption = (
        "Held-out bits per byte of each language after training (lower is better), and how far the others are behind "
        f"{languages[0]}"
    )
    return (CardTable(caption, ("method", *languages, "gap"), tuple(lines)),)


def plot_trade_off(results: Results, path: Path) -> None:
    """The first language's quality, the gap to the others and, where measured, retrieval: a bar a method each."""
    panels = trade_off(results)
    with plain_text():
        figure = Figure(figsize=(3.1 * len(panels), 3.4), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _draw(axes, panel)
        figure.savefig(path, dpi=150)


def trade_off(results: Results) -> tuple[Panel, ...]:
    """The panels of the picture."""
    runs = _runs(results)
    first = next(iter(final_bits(next(iter(runs.values()))[0])))
    panels = [
        Panel(
            f"Generalization: {first}",
            "bits per byte (lower is better)",
            {method: [final_bits(run)[first] for run in found] for method, found in runs.items()},
        ),
        Panel(
            f"Transfer gap: others above {first}",
            "bits per byte (lower is better)",
            {method: [transfer_gap(run) for run in found] for method, found in runs.items()},
        ),
    ]
    retrieval = {method: [_precision(run) for run in found if run.retrieval] for method, found in runs.items()}
    if all(retrieval.values()):
        panels.append(Panel("Retrieval of translations", "P@1 in per cent (higher is better)", retrieval))
    return tuple(panels)


def _draw(axes: Axes, panel: Panel) -> None:
    """A bar a method, the mean over its seeds; each seed a dot."""
    for place, (values, color) in enumerate(zip(panel.values.values(), METHOD_COLORS, strict=False)):
        axes.bar(place, fmean(values), width=0.6, color=color, alpha=0.6)
        axes.plot([place] * len(values), values, "o", color=color, markersize=4)
        axes.annotate(f"{fmean(values):.3g}", (place, fmean(values) / 2), ha="center", va="center", fontsize=9)
    axes.set_xticks(range(len(panel.values)), list(map(label, panel.values)))
    axes.margins(y=0.15)
    axes.set_title(panel.title, fontsize=10)
    axes.set_ylabel(panel.axis)
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _runs(results: Results) -> dict[str, list[Run]]:
    """Method → its runs, where languages were measured."""
    runs = {
        method: [run for run in results.runs if run.curve.method == method and run.languages]
        for method in results.methods
    }
    return {method: found for method, found in runs.items() if found}


def _precision(run: Run) -> float:
    last = run.retrieval[-1]
    return 50 * (last.to_source + last.from_source)


def _mean(values: Sequence[float]) -> str:
    return f"{fmean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")
