"""Pictures of results: PNG files, and SVG inside a page."""

import io
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import cycle, product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter

from hf_xlt.errors import InputError
from hf_xlt.evaluation.curves import Curve, mean_curve
from hf_xlt.files.printable import printable, shortened
from hf_xlt.report.page import BASELINE_COLORS, COLORS, FAINT, INK, LINES, METHOD_COLORS

LINE_STYLES = ("-", "--", ":")  # the next where colors have run out
LONGEST_LABEL = 60
ACCENT = LINES[0].light
_DENSEST = 0.55  # opacity of a one in a heat map: figures in the color of text stay readable on it
_CELL = 0.46  # inches

_INKED = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
_DRAWN: dict[Any, Any] = {
    **dict.fromkeys(_INKED, INK.light),
    "grid.color": FAINT.light,
    "svg.fonttype": "none",
    "svg.hashsalt": "hf_xlt",
    "text.parse_math": False,
    "savefig.transparent": True,
}
_SHOWN = {color.light: f"var(--{color.name})" for color in COLORS}
_COLOR = re.compile("|".join(_SHOWN))
_LEFT_OUT = ("metadata", "style")
_FONT = re.compile(r"\s*font-family:[^;]*;?")
_NAMESPACE = re.compile(r"\{[^}]*\}")
_REFERENCE = re.compile(r"(?<=url\(#)|(?<=^#)")


@contextmanager
def picture(path: Path, width: float, height: float, count: int = 1) -> Iterator[Sequence[Axes]]:
    """The axes of a picture with some panels in a row, which is written in the end; dollar signs are no formulas."""
    with rc_context({"text.parse_math": False}):
        figure = Figure(figsize=(width, height), layout="constrained")
        drawn: Sequence[Axes] = figure.subplots(1, count, squeeze=False)[0]
        for axes in drawn:
            axes.spines[["top", "right"]].set_visible(False)
        yield drawn
        figure.savefig(path, dpi=150)


def label(text: str) -> str:
    """Text beside a line or below a bar of a picture: short, on one line, and shown even if it begins with `_`."""
    line = shortened(text, LONGEST_LABEL)
    return f" {line}" if line.startswith("_") else line


@dataclass(frozen=True)
class Scale:
    """What a learning curve is drawn over."""

    name: str
    per_step: Callable[[Curve], float | None]  # how much of it a step is; None where that was not recorded
    unit: str | None = None  # with a prefix, such as MB; None for plain numbers
    before: Callable[[Curve], float] = lambda curve: 0.0  # how much of it was spent before the first step


STEPS = Scale("training steps", lambda curve: 1.0)
TEXT = Scale("text read in training", lambda curve: curve.bytes_per_step, "B")
COMPUTE = Scale("training compute", lambda curve: curve.flops_per_step, "FLOPs", lambda curve: curve.flops_before)


def differ_in(scale: Scale, curves: Mapping[str, Sequence[Curve]]) -> bool:
    """Whether steps of one curve are more of it than those of another, and it is known how much of all of them."""
    found = {(scale.per_step(run), scale.before(run)) for runs in curves.values() for run in runs}
    return len(found) > 1 and all(per_step is not None for per_step, _ in found)


def plot_learning_curves(
    curves: Mapping[str, Sequence[Curve]], baselines: Sequence[str], title: str, path: Path, over: Scale = STEPS
) -> None:
    """Held-out bits per byte by training steps, one line for each method: the mean over its curves, their range shaded.

    Or by another scale, which has to be known of all curves. What lies above the start of every baseline is cut off,
    so that one bad start does not flatten the rest; baselines are muted.
    """
    with picture(path, 7.2, 4.4) as (axes,):
        ours, muted = (cycle(product(LINE_STYLES, colors)) for colors in (METHOD_COLORS, BASELINE_COLORS))
        for method, runs in curves.items():
            style, color = next(muted if method in baselines else ours)
            points = mean_curve(runs)
            per_step, before = over.per_step(runs[0]) or 0.0, over.before(runs[0])
            places, means = [before + step * per_step for step, _ in points], [mean for _, mean in points]
            axes.plot(places, means, style, label=label(method), color=color, linewidth=2, marker="o", markersize=3)
            columns = list(zip(*([point.bits_per_byte for point in run.points] for run in runs), strict=True))
            axes.fill_between(
                places, [min(c) for c in columns], [max(c) for c in columns], color=color, alpha=0.15, lw=0
            )
        if muted_curves := [run for method in baselines for run in curves.get(method, ())]:
            ceiling = 1.05 * max(run.points[0].bits_per_byte for run in muted_curves)
            lowest = min(point.bits_per_byte for runs in curves.values() for run in runs for point in run.points)
            axes.set_ylim(0.95 * lowest, min(axes.get_ylim()[1], ceiling))
        if over.unit is not None:
            axes.xaxis.set_major_formatter(EngFormatter(over.unit))
            axes.locator_params(axis="x", nbins=6)  # such labels are long
        axes.set_xlabel(over.name)
        axes.set_ylabel("held-out bits per byte (lower is better)")
        axes.set_title(label(title))
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the light colors of `COLORS`, which `inline` makes those of the page; dollar signs are no formulas."""
    with rc_context(_DRAWN), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)  # the page has fonts
        yield


def inline(svg: str, title: str) -> str:
    """An SVG file of matplotlib's as an element of an HTML page.

    Colors become the page's, which may change with the color scheme; fonts too. What would reach outside goes: the
    style sheet, the metadata, the namespaces; ids are kept apart from those of other pictures. The title is read out.
    """
    root = ElementTree.fromstring(printable(svg))
    for element in root.iter():
        element.tag = _NAMESPACE.sub("", element.tag)
        element.attrib = {_NAMESPACE.sub("", name): value for name, value in element.attrib.items()}
        for child in [child for child in element if _NAMESPACE.sub("", child.tag) in _LEFT_OUT]:
            element.remove(child)
    prefix = sha256(ElementTree.tostring(root)).hexdigest()[:8]
    for element in root.iter():
        element.attrib = {name: _themed(name, value, prefix) for name, value in element.attrib.items()}
    root.attrib = {
        **{name: root.attrib[name] for name in ("width", "viewBox")},
        "role": "img",
        "aria-label": printable(title),
    }
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _themed(name: str, value: str, prefix: str) -> str:
    if name == "style":
        return _FONT.sub("", _COLOR.sub(lambda match: _SHOWN[match[0]], value))
    return f"{prefix}-{value}" if name == "id" else _REFERENCE.sub(f"{prefix}-", value)


@dataclass(frozen=True)
class Bar:
    """A value with its interval."""

    label: str
    value: float
    low: float
    high: float


def learning_curves_svg(curves: Mapping[str, Sequence[Curve]], baselines: Sequence[str], title: str) -> str:
    """The picture of `plot_learning_curves`."""
    with drawing(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "curves.svg"
        plot_learning_curves(curves, baselines, title, path)
        return inline(path.read_text(encoding="utf-8"), title)


def heat_map_svg(matrix: np.ndarray, x_labels: Sequence[str], y_labels: Sequence[str], title: str) -> str:
    """Values `(n, m)` between 0 and 1, such as CKA between layers: the higher, the denser; each is written in its cell.

    Where there is no number the cell stays empty. The first row is at the top.
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
    """Values with their intervals, a line each, such as differences between two models."""
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
        shown = (tuple(format(x, form).replace("-", "\N{MINUS SIGN}") for x in (b.value, b.low, b.high)) for b in bars)
        figures.set_yticks(places, ["{} [{}, {}]".format(*numbers) for numbers in shown])
        for side in (axes, figures):
            side.tick_params(axis="y", length=0)
            side.spines[:].set_visible(False)
        axes.grid(axis="x", alpha=0.25)
        axes.set_axisbelow(True)
        return _inline(figure, title)


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with axes of a size in inches; what is written around them makes it larger when it is saved."""
    figure = Figure(figsize=(width, height))
    return figure, figure.add_axes((0, 0, 1, 1))


def _inline(figure: Figure, title: str) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", bbox_inches="tight")
    return inline(file.getvalue(), title)
