"""The evidence of a language as one table, a line a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

BASELINES = ("from scratch", "random rows")
NOTHING = "–"


@dataclass(frozen=True)
class Column:
    """Scores of one task.

    Args:
        title: In the header.
        task: As the figures name it.
        scores: Which of its scores, in per cent, with a slash between several.
    """

    title: str
    task: str
    scores: tuple[str, ...]

    def cell(self, figures: Mapping[str, Any]) -> str:
        """The scores of a method."""
        found = figures.get("tasks", {}).get(self.task, {})
        known = all(score in found for score in self.scores)
        return " / ".join(f"{100 * found[score][0]:.1f}" for score in self.scores) if known else NOTHING


COLUMNS = (
    Column("retrieval", "retrieval", ("backward", "forward")),
    Column("topics: probe", "classification, zero-shot", ("accuracy",)),
    Column("fine-tuned", "classification, fine-tuned", ("accuracy",)),
    Column("supervised", "classification, supervised", ("accuracy",)),
    Column("UPOS", "upos, zero-shot", ("accuracy",)),
    Column("LAS", "parsing, zero-shot", ("las",)),
    Column("LAS, fine-tuned", "parsing, fine-tuned", ("las",)),
    Column("NER", "ner, supervised", ("f1",)),
    Column("questions: EM / F1", "question-answering, fine-tuned", ("exact_match", "f1")),
)


def rows(figures: Mapping[str, Any]) -> list[list[str]]:
    """Header and lines: methods by their bits per byte, then those that have none; columns that were measured."""
    trained = sorted((name for name in figures if _bits(figures[name]) != NOTHING), key=lambda n: _bits(figures[n]))
    names = [*trained, *(name for name in figures if name not in trained)]
    columns: dict[str, Callable[[Mapping[str, Any]], str]] = {"bits/byte": _bits, "steps saved": _saved}
    columns |= {column.title: column.cell for column in COLUMNS}
    shown = {
        title: cells for title, cell in columns.items() if set(cells := [cell(figures[n]) for n in names]) != {NOTHING}
    }
    return [["", *shown], *([name, *(cells[i] for cells in shown.values())] for i, name in enumerate(names))]


def markdown(figures: Mapping[str, Any]) -> str:
    """The table in Markdown."""
    header, *lines = rows(figures)
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *lines)) + "\n"


def _bits(figures: Mapping[str, Any]) -> str:
    """Held-out bits per byte after training."""
    return f"{figures['curve']['points'][-1]['bits_per_byte']:.3f}" if "curve" in figures else NOTHING


def _saved(figures: Mapping[str, Any]) -> str:
    """The share of a baseline's steps that were not needed."""
    found = figures.get("steps saved")
    return " / ".join(_share(found.get(baseline, NOTHING)) for baseline in BASELINES) if found else NOTHING


def _share(share: float | str | None) -> str:
    if share is None:
        return "not reached"
    return share if isinstance(share, str) else f"{100 * share:.0f} %"
