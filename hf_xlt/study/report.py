"""The figures of a study: one JSON file for each cell, tables with one line for each setting, and pictures."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Self

from matplotlib.ticker import MaxNLocator
from pydantic import TypeAdapter

from hf_xlt.evaluation.structure import Level, Structure
from hf_xlt.evaluation.structure.structure import UNALIGNED
from hf_xlt.files.folders import write_whole
from hf_xlt.hub.card import CardTable
from hf_xlt.report.page import METHOD_COLORS
from hf_xlt.report.pictures import picture
from hf_xlt.study.study import Cell

ALIGNED = "orthogonal"

TRANSFER_FILE, CKA_FILE, RETRIEVAL_FILE = "transfer.png", "cka.png", "retrieval.png"
_MARKERS = "os^Dv<>P"
_LINES = tuple(product(("-", "--"), METHOD_COLORS))
Lines = Mapping[str, Sequence[Sequence[float]]]
"""What a line is called → its values by layer, once a seed."""


@dataclass(frozen=True)
class CellResult:
    """What was measured of a cell."""

    cell: Cell
    bits_per_byte: Mapping[str, float]  # language → held-out bits per byte after training
    structure: Structure  # the states of translations, layer by layer, before and after alignment
    # share of the second language's words whose part of speech is told, learned in the first; None where it was not
    # measured
    transfer: float | None
    learned: float | None  # the same of the first language's development sentences
    seconds: float

    def __repr__(self) -> str:
        bits = ", ".join(f"{language} {bits:.3f}" for language, bits in self.bits_per_byte.items())
        return f"CellResult({self.cell.name}: bits per byte {bits})"

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_whole(path, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        return TypeAdapter(cls).validate_json(path.read_text(encoding="utf-8"))


Column = tuple[str, str, Callable[[CellResult], float | None]]
"""The name of a figure, the form it is shown in, and what it is of a cell; None where it was not measured."""


class StudyResults(tuple[CellResult, ...]):
    """The cells of a study that are done, in its order."""

    def __repr__(self) -> str:
        return f"StudyResults({len(self)} cells of {len(self.by_setting())} settings)"

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in self.tables())

    def by_setting(self) -> dict[str, list[CellResult]]:
        """What a setting is called → its cells, one a seed, in the order of the study."""
        found: dict[str, list[CellResult]] = {}
        for result in self:
            found.setdefault(label(result.cell.setting), []).append(result)
        return found

    def figures(self, of: Callable[[CellResult], Any]) -> dict[str, list[Any]]:
        """What a setting is called → a figure of each of its cells; of none where it was not measured."""
        settings = self.by_setting().items()
        return {name: [figure for figure in map(of, found) if figure is not None] for name, found in settings}

    def tables(self) -> tuple[CardTable, ...]:
        """What every setting learned, and how alike the languages are in it; nothing where no cell is done."""
        if not self:
            return ()
        first, second = self[0].bits_per_byte
        seeds = len({result.cell.seed for result in self})
        learned: list[Column] = [
            (f"bits/byte {first}", ".3f", lambda result: result.bits_per_byte[first]),
            (f"bits/byte {second}", ".3f", lambda result: result.bits_per_byte[second]),
            ("learned", ".1f", lambda result: None if result.learned is None else 100 * result.learned),
            ("transfer", ".1f", lambda result: None if result.transfer is None else 100 * result.transfer),
        ]
        alike: list[Column] = [
            ("CKA", ".3f", lambda result: middle(cka(result.structure.sentences))),
            ("sentences", ".1f", lambda result: middle(precision(result.structure.sentences, UNALIGNED))),
            ("aligned", ".1f", lambda result: middle(precision(result.structure.sentences, ALIGNED))),
            ("words", ".1f", lambda result: of_words(result, UNALIGNED)),
            ("aligned", ".1f", lambda result: of_words(result, ALIGNED)),
        ]
        told = (
            f"Held-out bits per byte of {first} and {second}; parts of speech of {first}, as learned, and of {second}, "
            f"zero-shot, in per cent. {'One seed' if seeds == 1 else f'Means over {seeds} seeds'}"
        )
        shown = (
            "The middle layer: debiased CKA of translated sentences; P@1 by CSLS of sentences and of words, as they "
            "are and after an orthogonal map learned from other pairs, in per cent"
        )
        return (self._table(told, learned), self._table(shown, alike))

    def pictures(self, folder: Path) -> tuple[Path, ...]:
        """Draw what the cells that are done show, of which there is at least one, and return the files.

        They are transfer by setting, or retrieval without alignment where no task was given; CKA by layer; retrieval by
        layer after an orthogonal alignment, of sentences and, where asked for, of words.
        """
        alike = {"CKA of translated sentences": self.figures(lambda result: cka(result.structure.sentences))}
        aligned = {"Sentences": self.figures(lambda result: precision(result.structure.sentences, ALIGNED))}
        if any(result.structure.words for result in self):
            aligned["Words"] = self.figures(
                lambda result: result.structure.words and precision(result.structure.words, ALIGNED)
            )
        return (
            _transfer(self, folder / TRANSFER_FILE),
            _by_layer(alike, "debiased linear CKA between the languages", folder / CKA_FILE),
            _by_layer(aligned, "P@1 after alignment, in per cent", folder / RETRIEVAL_FILE),
        )

    def _table(self, caption: str, columns: Sequence[Column]) -> CardTable:
        cells = [[_mean(values, form) for values in self.figures(of).values()] for _, form, of in columns]
        lines = tuple(zip(self.by_setting(), *cells, strict=True))
        return CardTable(caption, ("private", *(name for name, _, _ in columns)), lines)


def label(setting: tuple[str, str, str]) -> str:
    """What is private, and what else is not as usual."""
    private, anchors, domain = setting
    others = {f"anchors: {anchors}": anchors != "default", f"domain: {domain}": domain != "same"}
    return ", ".join([private, *(name for name, unusual in others.items() if unusual)])


def _mean(values: Sequence[float], form: str) -> str:
    """The mean, and of several values their standard deviation."""
    spread = f" ± {stdev(values):{form}}" if len(values) > 1 else ""
    return f"{fmean(values):{form}}{spread}" if values else "–"


def precision(level: Level, way: str) -> list[float]:
    """P@1 of each layer by CSLS in per cent, a mean of both directions; the embeddings first."""
    return [100 * found.csls.mean for found in level.precision[way]]


def cka(level: Level) -> list[float]:
    """Debiased CKA of each layer between the languages; the embeddings first."""
    return [row[layer] for layer, row in enumerate(level.debiased_cka)]


def middle(layers: Sequence[float]) -> float:
    """The middle layer's."""
    return layers[len(layers) // 2]


def of_words(result: CellResult, way: str) -> float | None:
    """P@1 of words in the middle layer, where words were asked for."""
    level = result.structure.words
    return None if level is None else middle(precision(level, way))


def _transfer(results: StudyResults, path: Path) -> Path:
    measured = results.figures(lambda result: None if result.transfer is None else 100 * result.transfer)
    axis = "zero-shot tagging accuracy, in per cent"
    if not any(measured.values()):
        axis = "P@1 of sentences, unaligned, in per cent"
        measured = results.figures(lambda result: middle(precision(result.structure.sentences, UNALIGNED)))
    shown = {label: values for label, values in measured.items() if values}
    with picture(path, 1.2 + 0.9 * len(shown), 4.2) as (axes,):
        for place, values in enumerate(shown.values()):
            axes.bar(place, fmean(values), width=0.6, color=METHOD_COLORS[0], alpha=0.6)
            axes.plot([place] * len(values), values, "o", color=METHOD_COLORS[0], markersize=4)
        axes.grid(alpha=0.25)
        axes.set_axisbelow(True)
        axes.set_xticks(range(len(shown)), list(shown), rotation=30, ha="right")
        axes.set_xlabel("what each language has for itself")
        axes.set_ylabel(axis)
    return path


def _by_layer(panels: Mapping[str, Lines], axis: str, path: Path) -> Path:
    """One panel for each, one line for each setting: the mean over seeds by layer."""
    with picture(path, 6.4 * len(panels), 4.2, len(panels)) as drawn:
        for axes, (title, lines) in zip(drawn, panels.items(), strict=True):
            styles = zip(lines.items(), cycle(_LINES), cycle(_MARKERS), strict=False)
            for (name, seeds), (style, color), marker in styles:
                means = [fmean(values) for values in zip(*seeds, strict=True)]
                axes.plot(range(len(means)), means, style, label=name, color=color, marker=marker, markersize=4)
            axes.set(title=title, xlabel="layer (0: embeddings)", ylabel=axis)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(alpha=0.25)
        drawn[-1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    return path
