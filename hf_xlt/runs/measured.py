"""What is measured besides quality: how well translations find each other, and each language's own quality."""

from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

from matplotlib.axes import Axes

from hf_xlt.hub.card import CardTable, Score, public_name
from hf_xlt.report.pictures import METHOD_COLORS, label, picture
from hf_xlt.runs.results import Results, RetrievalPoint, Run

WAYS = {"to_source": ("to the source language", "-"), "from_source": ("from the source language", "--")}
# Field of a point, its heading, and what it is multiplied by.
PRECISION = (("to_source", "to source", 100), ("from_source", "from source", 100))
CLOSENESS = (("cosine", "cosine", 1), ("margin", "margin", 1))
KEPT = ("kept", "source kept", 1)
SCORES = (
    ("src2trg_accuracy", "from_source", "Source to target"),
    ("trg2src_accuracy", "to_source", "Target to source"),
)
BITS = "bits per byte (lower is better)"


class Panel(NamedTuple):
    """One side of the trade-off: its title, its unit and which way is better, and method → a value a seed."""

    title: str
    axis: str
    values: dict[str, list[float]]


def plot_retrieval(results: Results, path: Path) -> None:
    """P@1 by training steps of a recipe that distils, means over seeds.

    There is one color for each method and language, and one line for each direction.
    """
    with picture(path, 7.2, 4.4) as (axes,):
        for (name, runs), color in zip(_retrieved(results).items(), cycle(METHOD_COLORS), strict=False):
            steps = [point.step for point in runs[0]]
            for way, (direction, line) in WAYS.items():
                by_step = zip(*runs, strict=True)
                values = [100 * fmean(getattr(point, way) for point in points) for points in by_step]
                axes.plot(
                    steps, values, line, color=color, marker="o", markersize=4, label=label(f"{name}, {direction}")
                )
        axes.set_xlabel("training steps")
        axes.set_ylabel("P@1 in per cent (higher is better)")
        axes.set_title("Retrieval of held-out translations")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)


def retrieval_tables(results: Results) -> tuple[CardTable, ...]:
    """How well held-out translations find each other: one line for each method, a mean over seeds.

    Where there are several languages there is a line for each.
    """
    found = _retrieved(results)
    if not found:
        return ()
    points = [point for runs in found.values() for run in runs for point in run]
    near = all(point.cosine is not None for point in points)
    columns = [*PRECISION, *(CLOSENESS if near else ())]
    columns += [KEPT] if all(point.kept is not None for point in points) else []
    lines = []
    for name, runs in found.items():
        means = (
            f"{scale * fmean(getattr(run[at], field) for run in runs):.{1 if scale > 1 else 3}f}"
            for field, _, scale in columns
            for at in (0, -1)
        )
        lines.append((name, *means))
    header = ("method", *(cell for _, name, _ in columns for cell in (f"{name}, start", "end")))
    by = "" if results.pooling is None else f"; sentence vectors by {results.pooling}"
    title = f"Held-out translations that are each other's nearest sentence, in per cent{by}"
    return (CardTable(title, header, tuple(lines)),)


def _retrieved(results: Results) -> dict[str, list[list[RetrievalPoint]]]:
    """Method, and language where there are several → the points of each seed's run."""
    measured = {method: [run.retrieval for run in runs if run.retrieval] for method, runs in results.runs_of.items()}
    languages = list(dict.fromkeys(point.language for runs in measured.values() for run in runs for point in run))
    return {
        method if len(languages) == 1 else f"{method}, {language}": [
            [point for point in run if point.language == language] for run in runs
        ]
        for method, runs in measured.items()
        for language in (languages if runs else ())
    }


def economy_tables(results: Results) -> tuple[CardTable, ...]:
    """What the compared tokenizers cost and gain: one line for each method; no table if there is one tokenizer."""
    if not results.economies:
        return ()
    columns = {
        "method": [each.method for each in results.economies],
        "characters a token": [f"{each.characters_per_token:.2f}" for each in results.economies],
        "unknown tokens, %": [f"{100 * each.unknown:.1f}" for each in results.economies],
    }
    speeds = [each.characters_per_second for each in results.economies]
    if None not in speeds:
        columns["characters a second"] = [f"{speed:,.0f}" for speed in speeds]
    caption = "What each tokenizer makes of the held-out text, and how fast its model writes (higher is better)"
    return (CardTable(caption, tuple(columns), tuple(zip(*columns.values(), strict=True))),)


def probe_tables(results: Results) -> tuple[CardTable, ...]:
    """What the candidates of a probe came to and cost, a line each; nothing where there was no probe."""
    if not results.probes:
        return ()
    lines = []
    for probe in results.probes:
        values = (f"{probe.curve.points[0].bits_per_byte:.3f}", f"{probe.curve.final.bits_per_byte:.3f}")
        flops = "unknown" if probe.flops is None else f"{probe.flops:.1e}"
        goes_on = "yes" if probe.method == results.method else ""
        lines.append(
            (probe.method, str(probe.curve.final.step), *values, flops, f"{probe.curve.seconds:,.0f}", goes_on)
        )
    caption = "The probe: held-out bits per byte of each candidate (lower is better), and what it took"
    header = ("candidate", "steps", "start", "end", "FLOPs", "seconds", "goes on")
    return (CardTable(caption, header, tuple(lines)),)


def retrieval_scores(results: Results, files: tuple[str, ...]) -> Iterator[Score]:
    """How many validation pairs, of `files`, find each other after training, both ways.

    A mean over seeds and languages.
    """
    found = [point for run in results.kept for point in run.retrieval if point.step == run.retrieval[-1].step]
    place = ", ".join(map(public_name, files))
    for metric, way, name in SCORES if found and files else ():
        mean = fmean(getattr(point, way) for point in found)
        yield Score("translation", metric, mean, f"{name} accuracy of nearest sentences", place)


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
    """Bits per byte of each language after training, and the gap: one line for each method; none for one language."""
    runs = _of_languages(results)
    if not runs:
        return ()
    languages = tuple(final_bits(next(iter(runs.values()))[0]))
    lines = []
    for method, found in runs.items():
        columns = [[final_bits(run)[language] for run in found] for language in languages]
        lines.append((method, *map(_mean, columns), _mean([transfer_gap(run) for run in found])))
    caption = (
        "Held-out bits per byte of each language after training (lower is better), and how far the others are behind "
        f"{languages[0]}"
    )
    return (CardTable(caption, ("method", *languages, "gap"), tuple(lines)),)


def source_tables(results: Results) -> tuple[CardTable, ...]:
    """Bits per byte of the source language before and after training: one line for each method."""
    lines = [
        (method, *(_mean([run.languages[at].bits_per_byte for run in runs]) for at in (0, -1)))
        for method, runs in _of_languages(results).items()
    ]
    caption = "Held-out bits per byte of the source language (lower is better)"
    return (CardTable(caption, ("method", "start", "end"), tuple(lines)),) if lines else ()


def plot_trade_off(results: Results, path: Path) -> None:
    """The first language's quality, the gap to the others and, where measured, retrieval: a bar a method each."""
    panels = trade_off(results)
    with picture(path, 3.1 * len(panels), 3.4, len(panels)) as drawn:
        for axes, panel in zip(drawn, panels, strict=True):
            _draw(axes, panel)


def trade_off(results: Results) -> tuple[Panel, ...]:
    """The panels of the picture."""
    runs = _of_languages(results)
    first = next(iter(final_bits(next(iter(runs.values()))[0])))
    bits = {method: [final_bits(run)[first] for run in found] for method, found in runs.items()}
    gaps = {method: [transfer_gap(run) for run in found] for method, found in runs.items()}
    panels = (Panel(f"Generalization: {first}", BITS, bits), Panel(f"Transfer gap: others above {first}", BITS, gaps))
    retrieval = {method: [_precision(run) for run in found if run.retrieval] for method, found in runs.items()}
    if not all(retrieval.values()):
        return panels
    return (*panels, Panel("Retrieval of translations", "P@1 in per cent (higher is better)", retrieval))


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


def _of_languages(results: Results) -> dict[str, list[Run]]:
    """Method → its runs, where languages were measured."""
    runs = {method: [run for run in found if run.languages] for method, found in results.runs_of.items()}
    return {method: found for method, found in runs.items() if found}


def _precision(run: Run) -> float:
    return 50 * (run.retrieval[-1].to_source + run.retrieval[-1].from_source)


def _mean(values: Sequence[float]) -> str:
    return f"{fmean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")
