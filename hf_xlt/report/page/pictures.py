"""Pictures of a report, as SVG inside a page."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hf_xlt.errors import InputError
from hf_xlt.evaluation.curves import Curve
from hf_xlt.report.page.colours import INK, LINES
from hf_xlt.report.page.svg import drawing, inline
from hf_xlt.report.tables import label, plot_learning_curves

ACCENT = LINES[0].light
_DENSEST = 0.55  # opacity of a one in a heat map: figures in the colour of text stay readable on it
_CELL = 0.46  # inches


@dataclass(frozen=True)
class Bar:
    """A value with its interval."""

    label: str
    value: float
    low: float
    high: float


def learning_curves_svg(curves: Mapping[str, Sequence[Curve]], baselines: Sequence[str], title: str) -> str:
    """The picture of `hf_xlt.report.tables.plot_learning_curves`."""
    with drawing(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "curves.svg"
        plot_learning_curves(curves, baselines, title, path)
        return inline(path.read_text(encoding="utf-8"), title)


def heat_map_svg(matrix: np.ndarray, x_labels: Sequence[str], y_labels: Sequence[str], title: str) -> str:
    """Values between 0 and 1, such as CKA between layers: the higher, the denser; each is written into its cell.

    Args:
        matrix: `(n, m)`; where it is not a number the cell stays empty.
        x_labels: Of the `m` columns.
        y_labels: Of the `n` rows; the first is at the top.
        title: Above the picture.

    Raises:
        InputError: If there are not as many labels as rows and columns, or a value lies outside 0 to 1.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.shape != (len(y_labels), len(x_labels)) or not matrix.size:
        raise InputError(f"A heat map of shape {matrix.shape} has {len(y_labels)} and {len(x_labels)} labels.")
    if np.nanmin(matrix, initial=0) < -1e-3 or np.nanmax(matrix, initial=1) > 1 + 1e-3:
        raise InputError(f"{title}: expected values between 0 and 1, got {np.nanmin(matrix)} to {np.nanmax(matrix)}.")
    height, width = matrix.shape
    with drawing():
        figure, axes = _axes(_CELL * width, _CELL * height)
        cells = [(y, x) for y, x in np.ndindex(height, width) if np.isfinite(matrix[y, x])]
        axes.add_collection(
            PatchCollection(
                [Rectangle((x - 0.47, y - 0.47), 0.94, 0.94) for y, x in cells],
                facecolors=[to_rgba(ACCENT, _DENSEST * float(np.clip(matrix[cell], 0, 1))) for cell in cells],
                linewidths=0,
            )
        )
        for y, x in cells:
            axes.text(x, y, f"{matrix[y, x]:.2f}", ha="center", va="center", fontsize=8)
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), aspect="equal", title=label(title))
        slanted: dict[str, Any] = {"rotation": 45, "ha": "right"} if max(map(len, x_labels)) > 3 else {}
        axes.set_xticks(range(width), list(map(label, x_labels)), **slanted)
        axes.set_yticks(range(height), list(map(label, y_labels)))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        return _inline(figure, title)


def bars_svg(bars: Sequence[Bar], title: str, axis: str, form: str = "+.1f") -> str:
    """Values with their intervals, a line each, such as differences between two models.

    Args:
        bars: From top to bottom.
        title: Above the picture.
        axis: What the values are, with their unit.
        form: How the figures beside them are written.

    Raises:
        InputError: If there are none.
    """
    if not bars:
        raise InputError(f"{title}: there is no value to show.")
    places = range(len(bars))
    with drawing():
        figure, axes = _axes(4.5, 0.36 * len(bars))
        axes.barh(places, [bar.value for bar in bars], height=0.6, color=ACCENT, alpha=_DENSEST)
        axes.hlines(places, [bar.low for bar in bars], [bar.high for bar in bars], color=INK.light, linewidth=1.5)
        axes.axvline(0, color=INK.light, linewidth=0.8)
        axes.set(ylim=(len(bars) - 0.5, -0.5), xlabel=label(axis), title=label(title))
        axes.set_yticks(places, [label(bar.label) for bar in bars])
        figures = axes.secondary_yaxis("right")
        figures.set_yticks(places, [_figures(bar, form) for bar in bars])
        for shown in (axes, figures):
            shown.tick_params(axis="y", length=0)
            shown.spines[:].set_visible(False)
        axes.grid(axis="x", alpha=0.25)
        axes.set_axisbelow(True)
        return _inline(figure, title)


def _figures(bar: Bar, form: str) -> str:
    figures = (format(figure, form).replace("-", "\N{MINUS SIGN}") for figure in (bar.value, bar.low, bar.high))
    return "{} [{}, {}]".format(*figures)


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with axes of a size in inches; what is written around them makes it larger when it is saved."""
    figure = Figure(figsize=(width, height))
    FigureCanvasSVG(figure)
    return figure, figure.add_axes((0, 0, 1, 1))


def _inline(figure: Figure, title: str) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", bbox_inches="tight")
    return inline(file.getvalue(), title)
