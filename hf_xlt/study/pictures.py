"""The pictures of a study: transfer against what is shared, CKA and retrieval by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, product
from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hf_xlt.evaluation.structure import Level
from hf_xlt.evaluation.structure.alignment import UNALIGNED
from hf_xlt.report.tables import METHOD_COLOURS
from hf_xlt.study.cell import CellResult
from hf_xlt.study.tables import ALIGNED, by_setting, cka, label, middle, precision

TRANSFER_FILE, CKA_FILE, RETRIEVAL_FILE = "transfer.png", "cka.png", "retrieval.png"
_MARKERS = "os^Dv<>P"
_LINES = tuple(product(("-", "--"), METHOD_COLOURS))
Lines = Mapping[str, Sequence[Sequence[float]]]
"""What a line is called → its values by layer, once a seed."""


def pictures(results: Sequence[CellResult], folder: Path) -> tuple[Path, ...]:
    """Draw what the cells that are done show.

    Args:
        results: Of at least one cell.
        folder: Where the PNGs go.

    Returns:
        The files: transfer by setting, or retrieval without alignment where no task was given; CKA by layer; retrieval
        by layer after an orthogonal alignment, of sentences and, where asked for, of words.
    """
    settings = {label(setting): found for setting, found in by_setting(results).items()}
    return (
        _transfer(settings, folder / TRANSFER_FILE),
        _by_layer(
            {"CKA of translated sentences": _lines(settings, lambda result: result.structure.sentences, cka)},
            "debiased linear CKA between the languages",
            folder / CKA_FILE,
        ),
        _by_layer(_retrieval(settings), "P@1 after alignment, in per cent", folder / RETRIEVAL_FILE),
    )


def _transfer(settings: Mapping[str, Sequence[CellResult]], path: Path) -> Path:
    measured = {
        label: [100 * result.transfer for result in found if result.transfer is not None]
        for label, found in settings.items()
    }
    axis = "zero-shot tagging accuracy, in per cent"
    if not any(measured.values()):
        axis = "P@1 of sentences, unaligned, in per cent"
        measured = {
            label: [middle(precision(result.structure.sentences, UNALIGNED)) for result in found]
            for label, found in settings.items()
        }
    shown = {label: values for label, values in measured.items() if values}
    figure, (axes,) = _figure(1, 1.2 + 0.9 * len(shown))
    axes.bar(range(len(shown)), list(map(fmean, shown.values())), width=0.6, color=METHOD_COLOURS[0], alpha=0.6)
    for place, values in enumerate(shown.values()):
        axes.plot([place] * len(values), values, "o", color=METHOD_COLOURS[0], markersize=4)
    axes.set_xticks(range(len(shown)), list(shown), rotation=30, ha="right")
    axes.set_xlabel("what each language has for itself")
    axes.set_ylabel(axis)
    figure.savefig(path, dpi=150)
    return path


def _retrieval(settings: Mapping[str, Sequence[CellResult]]) -> dict[str, Lines]:
    def of(level: Level) -> list[float]:
        return precision(level, ALIGNED)

    panels = {"Sentences": _lines(settings, lambda result: result.structure.sentences, of)}
    if any(result.structure.words for found in settings.values() for result in found):
        panels["Words"] = _lines(settings, lambda result: result.structure.words, of)
    return panels


def _lines(
    settings: Mapping[str, Sequence[CellResult]],
    level: Callable[[CellResult], Level | None],
    values: Callable[[Level], list[float]],
) -> Lines:
    """The values by layer of every cell of a setting."""
    return {label: [values(found) for found in map(level, results) if found] for label, results in settings.items()}


def _by_layer(panels: Mapping[str, Lines], axis: str, path: Path) -> Path:
    """A panel each, a line a setting: the mean over seeds by layer."""
    figure, found = _figure(len(panels), 6.4)
    for axes, (title, lines) in zip(found, panels.items(), strict=True):
        for (name, seeds), (style, colour), marker in zip(lines.items(), cycle(_LINES), cycle(_MARKERS), strict=False):
            means = [fmean(values) for values in zip(*seeds, strict=True)]
            axes.plot(range(len(means)), means, style, label=name, color=colour, marker=marker, markersize=4)
        axes.set_title(title)
        axes.set_xlabel("layer (0: embeddings)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel(axis)
    found[-1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    figure.savefig(path, dpi=150)
    return path


def _figure(panels: int, width: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width * panels, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    found = list(figure.subplots(1, panels, squeeze=False)[0])
    for axes in found:
        axes.grid(alpha=0.25)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, found
