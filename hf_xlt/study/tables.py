"""The figures of a study in two tables: a line a setting, means over seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from hf_xlt.evaluation.structure import Level
from hf_xlt.evaluation.structure.alignment import UNALIGNED
from hf_xlt.hub.card import CardTable
from hf_xlt.study.cell import CellResult

ALIGNED = "orthogonal"


@dataclass(frozen=True)
class Column:
    """A figure of every cell.

    Args:
        name: In the header.
        value: The figure; None where it was not measured.
        form: How it is written.
    """

    name: str
    value: Callable[[CellResult], float | None]
    form: str = ".1f"

    def cell(self, results: Sequence[CellResult]) -> str:
        """The mean over the cells of a setting, and with several seeds their standard deviation."""
        known = [value for value in map(self.value, results) if value is not None]
        if not known:
            return "–"
        spread = f" ± {stdev(known):{self.form}}" if len(known) > 1 else ""
        return f"{fmean(known):{self.form}}{spread}"


def tables(results: Sequence[CellResult]) -> tuple[CardTable, ...]:
    """What every setting learned, and how alike the languages are in it; nothing where no cell is done."""
    if not results:
        return ()
    first, second = results[0].bits_per_byte
    seeds = len({result.cell.seed for result in results})
    learned = (
        Column(f"bits/byte {first}", lambda result: result.bits_per_byte[first], ".3f"),
        Column(f"bits/byte {second}", lambda result: result.bits_per_byte[second], ".3f"),
        Column("learned", lambda result: percent(result.learned)),
        Column("transfer", lambda result: percent(result.transfer)),
    )
    alike = (
        Column("CKA", lambda result: middle(cka(result.structure.sentences)), ".3f"),
        Column("sentences", lambda result: middle(precision(result.structure.sentences, UNALIGNED))),
        Column("aligned", lambda result: middle(precision(result.structure.sentences, ALIGNED))),
        Column("words", lambda result: of_words(result, UNALIGNED)),
        Column("aligned", lambda result: of_words(result, ALIGNED)),
    )
    told = (
        f"Held-out bits per byte of {first} and {second}; parts of speech of {first}, as learned, and of {second}, "
        f"zero-shot, in per cent. {'One seed' if seeds == 1 else f'Means over {seeds} seeds'}"
    )
    shown = (
        "The middle layer: debiased CKA of translated sentences; P@1 by CSLS of sentences and of words, as they are "
        "and after an orthogonal map learned from other pairs, in per cent"
    )
    return (_table(told, results, learned), _table(shown, results, alike))


def label(setting: tuple[str, str, str]) -> str:
    """What is private, and what else is not as usual."""
    private, anchors, domain = setting
    others = {f"anchors: {anchors}": anchors != "default", f"domain: {domain}": domain != "same"}
    return ", ".join([private, *(name for name, unusual in others.items() if unusual)])


def _table(caption: str, results: Sequence[CellResult], columns: Sequence[Column]) -> CardTable:
    lines = tuple(
        (label(setting), *(column.cell(found) for column in columns)) for setting, found in by_setting(results).items()
    )
    return CardTable(caption, ("private", *(column.name for column in columns)), lines)


def by_setting(results: Sequence[CellResult]) -> dict[tuple[str, str, str], list[CellResult]]:
    """Setting → its cells, one a seed, in the order of the study."""
    found: dict[tuple[str, str, str], list[CellResult]] = {}
    for result in results:
        found.setdefault(result.cell.setting, []).append(result)
    return found


def precision(level: Level, way: str) -> list[float]:
    """P@1 of each layer by CSLS in per cent, a mean of both directions; the embeddings first."""
    return [50 * (found.csls.forward + found.csls.backward) for found in level.precision[way]]


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


def percent(share: float | None) -> float | None:
    """A share in per cent, where there is one."""
    return None if share is None else 100 * share
