"""Read parallel text: two columns of one file, or two files with a sentence a line; gzipped or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hf_xlt.arguments import checked
from hf_xlt.errors import InputError
from hf_xlt.evidence.place import Place
from hf_xlt.files.text import first_numbers, text_lines


@dataclass(frozen=True)
class ParallelText:
    """Sentences and their translations.

    Attributes:
        pairs: Source and target sentence, stripped of surrounding white space, neither of them empty.
        skipped: Numbers of the lines, from 1, that were left out because a side is empty or missing.
    """

    pairs: tuple[tuple[str, str], ...]
    skipped: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def notice(self) -> str:
        """One line that counts and names what was left out; empty where nothing was."""
        if not self.skipped:
            return ""
        lines = "line" if len(self.skipped) == 1 else "lines"
        total = len(self.pairs) + len(self.skipped)
        return f"{len(self.skipped)} {lines} with an empty side left out of {total}: {first_numbers(self.skipped)}"


@checked
def read_parallel(
    source: str | Path, target: str | Path | None = None, columns: tuple[int, int] = (0, 1)
) -> ParallelText:
    """Read sentence pairs.

    Args:
        source: A tab-separated file, where it has a header row `FILE:source,target`, as a `Place` is written; or,
            with `target`, a file of source sentences.
        target: A file of their translations, with as many lines.
        columns: Positions of source and target in a tab-separated file without a header row.

    Raises:
        InputError: If a file is missing, damaged or not UTF-8, the two files have different numbers of lines, the
            header row lacks a column or a line its cell, or no line has two sides.
    """
    rows = _tab_separated(source, columns) if target is None else _side_by_side(source, target)
    pairs, skipped = [], []
    for number, first, second in rows:
        pair = first.strip(), second.strip()
        if all(pair):
            pairs.append(pair)
        else:
            skipped.append(number)
    if not pairs:
        raise InputError(
            f"{source} holds no sentence pair ({len(skipped)} lines with an empty side); expected two columns "
            "separated by a tab, or a second file."
        )
    return ParallelText(tuple(pairs), tuple(skipped))


def _tab_separated(source: str | Path, columns: tuple[int, int]) -> Iterator[tuple[int, str, str]]:
    """Line number and both columns; one that is missing, where there is no header row, is empty."""
    place = Place(str(source)) if Path(source).is_file() else Place.parse(str(source))
    if place.columns:
        yield from ((number, first, second) for number, (first, second) in place.rows(2))
        return
    for number, line in enumerate(text_lines(source), start=1):
        cells = line.split("\t") + [""] * (max(columns) + 1)
        yield number, cells[columns[0]], cells[columns[1]]


def _side_by_side(source: str | Path, target: str | Path) -> Iterator[tuple[int, str, str]]:
    sources, targets = list(text_lines(source)), list(text_lines(target))
    if len(sources) != len(targets):
        raise InputError(
            f"{source} has {len(sources)} lines and {target} has {len(targets)}; expected equal numbers, "
            "line by line translations of each other."
        )
    yield from zip(range(1, len(sources) + 1), sources, targets, strict=True)
