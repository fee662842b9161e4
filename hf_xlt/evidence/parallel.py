"""Read parallel text: one file of two columns, or two files with a sentence a line; gzipped or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hf_xlt.errors import InputError
from hf_xlt.evidence.text import first_numbers, text_lines

Columns = tuple[int, int] | tuple[str, str]
"""Two columns by position, from 0, where a file has no header row, or by name where it has one."""


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


def read_parallel(source: str | Path, target: str | Path | None = None, columns: Columns = (0, 1)) -> ParallelText:
    """Read sentence pairs.

    Args:
        source: A tab-separated file; or, with `target`, a file of source sentences.
        target: A file of their translations, with as many lines.
        columns: Of the tab-separated file, source and target: positions, or names in its header row.

    Raises:
        InputError: If a file is missing, damaged or not UTF-8, the two files have different numbers of lines, the
            header row lacks a column, or no line has two sides.
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


def _tab_separated(path: str | Path, columns: Columns) -> Iterator[tuple[int, str, str]]:
    """Line number and both columns; a missing column is empty."""
    rows = ((number, line.split("\t")) for number, line in enumerate(text_lines(path), start=1))
    first, second = columns
    if isinstance(first, str) or isinstance(second, str):
        _, header = next(rows, (1, []))
        if missing := [name for name in columns if name not in header]:
            raise InputError(f"{path} has no column {missing[0]!r}; its header row names {', '.join(header)}.")
        first, second = header.index(str(first)), header.index(str(second))
    for number, cells in rows:
        cells += [""] * (max(first, second) + 1 - len(cells))
        yield number, cells[first], cells[second]


def _side_by_side(source: str | Path, target: str | Path) -> Iterator[tuple[int, str, str]]:
    sources, targets = list(text_lines(source)), list(text_lines(target))
    if len(sources) != len(targets):
        raise InputError(
            f"{source} has {len(sources)} lines and {target} has {len(targets)}; expected equal numbers, "
            "line by line translations of each other."
        )
    yield from zip(range(1, len(sources) + 1), sources, targets, strict=True)
