"""Tables of results, origins and health, and pictures of learning curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle, product
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import category

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from hf_xlt.files.printable import one_line, shortened
from hf_xlt.hub.card import CardTable
from hf_xlt.transport import Part, Transport

if TYPE_CHECKING:
    from hf_xlt.evaluation.curves import Curve
    from hf_xlt.evaluation.summary import MethodSummary

METHOD_COLOURS = ("#1f5fa8", "#b8372f", "#2e8b57", "#7a4fa3", "#00838f")
BASELINE_COLOURS = ("#8a8a8a", "#c9a227")
LINE_STYLES = ("-", "--", ":")  # the next where colours have run out
LONGEST_LABEL = 60


@contextmanager
def plain_text() -> Iterator[None]:
    """Draw text as it is: dollar signs are no formulas."""
    from matplotlib import rc_context  # a second, and most commands draw nothing

    with rc_context({"text.parse_math": False}):
        yield


def label(text: str) -> str:
    """Text beside a line or below a bar of a picture: short, on one line, and shown even if it begins with `_`."""
    line = shortened(text, LONGEST_LABEL)
    return f" {line}" if line.startswith("_") else line


def results_table(summaries: Sequence[MethodSummary]) -> Table:
    """The table shown in the terminal: a line a method, its values the better the lower."""
    title = "Held-out quality (lower is better) and steps saved"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("method", "start", "bits/byte", "perplexity"):
        table.add_column(name, justify="left" if name == "method" else "right", no_wrap=name != "method")
    baselines = list(dict.fromkeys(name for summary in summaries for name in summary.saved))
    for name in baselines:
        table.add_column(Text(f"saved vs\n{one_line(name)}"), justify="right", no_wrap=True)
    for summary in summaries:
        table.add_row(*map(_text, (*_cells(summary), *(_saved(summary, name) for name in baselines))))
    return table


def _text(cell: str) -> Text:
    """A cell as it is: no markup of rich's, nothing that a terminal obeys."""
    return Text(one_line(cell))


def _cells(summary: MethodSummary) -> tuple[str, ...]:
    spread = f" ± {summary.spread:.3f}" if summary.seeds > 1 else ""
    start, final = f"{summary.start_bits_per_byte:.3f}", f"{summary.bits_per_byte:.3f}{spread}"
    return summary.method, start, final, f"{summary.perplexity:,.1f}"


def _saved(summary: MethodSummary, baseline: str) -> str:
    if baseline not in summary.saved:
        return ""
    share = summary.saved[baseline]
    return "not reached" if share is None else f"{share:.0%}"


def plot_learning_curves(
    curves: Mapping[str, Sequence[Curve]], baselines: Sequence[str], title: str, path: Path
) -> None:
    """Held-out bits per byte by training steps, a line a method: the mean over seeds, its range shaded.

    What lies above the start of every baseline is cut off, so that one bad start does not flatten the rest.

    Args:
        curves: Method → its curves, one a seed.
        baselines: Methods drawn in muted colours.
        title: Above the picture.
        path: Where the PNG goes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from hf_xlt.evaluation.curves import mean_curve

    with plain_text():
        figure = Figure(figsize=(7.2, 4.4), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        ours, muted = (cycle(product(LINE_STYLES, colours)) for colours in (METHOD_COLOURS, BASELINE_COLOURS))
        for method, runs in curves.items():
            style, colour = next(muted if method in baselines else ours)
            steps, means = zip(*mean_curve(runs), strict=True)
            axes.plot(steps, means, style, label=label(method), color=colour, linewidth=2, marker="o", markersize=3)
            columns = list(zip(*([point.bits_per_byte for point in run.points] for run in runs), strict=True))
            axes.fill_between(
                steps, [min(c) for c in columns], [max(c) for c in columns], color=colour, alpha=0.15, lw=0
            )
        if muted_curves := [run for method in baselines for run in curves.get(method, ())]:
            ceiling = 1.05 * max(run.points[0].bits_per_byte for run in muted_curves)
            lowest = min(point.bits_per_byte for runs in curves.values() for run in runs for point in run.points)
            axes.set_ylim(0.95 * lowest, min(axes.get_ylim()[1], ceiling))
        axes.set_xlabel("training steps")
        axes.set_ylabel("held-out bits per byte (lower is better)")
        axes.set_title(label(title))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        figure.savefig(path, dpi=150)


def explanation_table(transport: Transport, tokens: Sequence[str], k: int) -> Table:
    """Where the rows of target tokens come from: a line a token, the source tokens that weigh most, with their weights.

    Where rows are mixed by counts, those behind each source token stand in brackets after its weight.

    Raises:
        InputError: If the target vocabulary lacks a token.
    """
    evidence = " (and the counts behind them)" if transport.evidence else ""
    table = Table(box=None, pad_edge=False)
    for name in ("token", "row", f"source tokens and their weights{evidence}"):
        table.add_column(name)
    for token in tokens:
        parts = ", ".join(map(_part, transport.parts(token, k)))
        table.add_row(*map(_text, (token, transport.origin(token), parts)))
    return table


def example_token(transport: Transport) -> str | None:
    """A word of the target language whose row is mixed, to show what `explain` tells; None if there is none.

    Tokenizers number frequent tokens first, so it is an early one, and no very short one if there is a choice.
    """
    origins = transport.origins
    made = (origins["mixed"] | origins["projected"]).tolist()
    words = [name for name, mixed in zip(transport.target_names, made, strict=True) if mixed and _is_word(name)]
    return next((word for length in (4, 2, 1) for word in words if len(word) >= length), None)


def _is_word(name: str) -> bool:
    """Whether a name is letters and their marks throughout."""
    return bool(name) and all(category(character)[0] in "LM" for character in name)


def _part(part: Part) -> str:
    counts = ", ".join(f"{kind} {amount:.3g}" for kind, amount in part.evidence.items())
    return f"{part.source} {part.weight:.3f}" + (f" ({counts})" if counts else "")


def text_table(table: CardTable) -> Group:
    """A table of the card for the terminal, under its caption: cells as they are, columns of numbers to the right."""
    shown = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, *cells in zip(table.header, *table.lines, strict=True):
        numbers = all(cell.lstrip("-")[:1].isdigit() for cell in cells)
        shown.add_column(_text(name), justify="right" if numbers else "left")
    for line in table.lines:
        shown.add_row(*map(_text, line))
    return Group(Text(one_line(table.caption), style="italic"), shown)
