"""Read parallel text: two columns of one table, or two files with a sentence a line."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from hf_xlt.arguments import checked
from hf_xlt.errors import InputError
from hf_xlt.evidence.columns import find_columns
from hf_xlt.evidence.skipped import check_skipped
from hf_xlt.files.place import Place, several
from hf_xlt.files.table import SEEN, Row, Table
from hf_xlt.files.text import first_numbers, text_lines

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ParallelText:
    """Sentences and their translations.

    Attributes:
        pairs: Source and target sentence, stripped of surrounding white space, neither of them empty.
        skipped: Numbers of the lines, from 1, that were left out because a side is empty or missing, or because they
            have more cells than most.
        lines: Number of the line of each pair; empty if the pairs are of no file.
        reading: How the file was read, as one line, where that is not plain.
    """

    pairs: tuple[tuple[str, str], ...]
    skipped: tuple[int, ...] = ()
    lines: tuple[int, ...] = ()
    reading: str = ""

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def notice(self) -> str:
        """How the file was read and what was left out of it, as one line; empty where all is plain."""
        told = [self.reading] * bool(self.reading)
        if self.skipped:
            lines = "line" if len(self.skipped) == 1 else "lines"
            total = len(self.pairs) + len(self.skipped)
            told.append(
                f"{len(self.skipped)} {lines} with an empty side or a cell too many left out of {total}: "
                f"{first_numbers(self.skipped)}"
            )
        return "; ".join(told)


@checked
def read_parallel(
    source: str | Path, target: str | Path | None = None, columns: tuple[int, int] | None = None
) -> ParallelText:
    """Read sentence pairs.

    Args:
        source: A table, as `Table.of` takes it, or `FILE:source,target`, as a `Place` is written, with the names of its
            columns; or, with `target`, a file of source sentences.
        target: A file of their translations, with as many lines.
        columns: Positions of source and target in a table without a header row. None: the two columns of texts, as
            `find_columns` finds them; a first row of names is left out.

    Raises:
        InputError: If a file is missing, damaged or not UTF-8, the two files have different numbers of lines, the
            header row lacks a column or a line its cell, there are not two columns of texts, or more lines have to be
            left out than can be read.
    """
    if target is not None:
        return _with_columns(_side_by_side(source, target), source, None)
    place = Place.at(source)
    if place.columns:
        return _paired(((number, [*cells]) for number, cells in place.rows(2)), source)
    table = Table.of(source)
    if columns is None:
        return _with_columns(table.rows(), source, table)
    if min(columns) < 0 or columns[0] == columns[1]:
        raise InputError(f"columns={columns}; expected two different positions from 0.", value=columns)
    return _paired(table.rows(), source, columns)


def _with_columns(rows: Iterator[Row], path: str | Path, table: Table | None) -> ParallelText:
    """The pairs of rows whose columns are found by looking at the first."""
    first = list(islice(rows, SEEN))
    seen = [(number, cells) for number, cells in first if any(cell.strip() for cell in cells)]
    if not seen:
        raise _no_pair(path, len(first))
    found = find_columns(seen, path, () if table is None else table.keys)
    body = (row for row in chain(first, rows) if not (found.headed and row[0] == seen[0][0]))
    return _paired(body, path, (found.source, found.target), found.width, found.notice)


def _paired(
    rows: Iterator[Row],
    path: str | Path,
    columns: tuple[int, int] = (0, 1),
    width: int | None = None,
    reading: str = "",
) -> ParallelText:
    pairs, lines, skipped = [], [], []
    for number, cells in rows:
        pair = tuple(cells[place].strip() if place < len(cells) else "" for place in columns)
        if all(pair) and (width is None or len(cells) <= width):
            pairs.append((pair[0], pair[1]))
            lines.append(number)
        else:
            skipped.append(number)
    if not pairs:
        raise _no_pair(path, len(skipped))
    check_skipped(path, skipped, len(pairs), "have an empty side or a cell too many")
    return ParallelText(tuple(pairs), tuple(skipped), tuple(lines), reading)


def read_parallels(places: str | Path | Sequence[str | Path]) -> ParallelText:
    """Read sentence pairs of one or several files, each as `read_parallel` does, one after the other.

    Lines of several that are left out are told of at once.

    Raises:
        InputError: If none is named, one twice, or one cannot be read.
    """
    texts = {place: read_parallel(Path(place).expanduser()) for place in several(places, "file of translation pairs")}
    if len(texts) == 1:
        return next(iter(texts.values()))
    for place, text in texts.items():
        if text.notice:
            logger.warning(f"{place}: {text.notice}")
    return ParallelText(tuple(chain.from_iterable(text.pairs for text in texts.values())))


def _no_pair(path: str | Path, skipped: int) -> InputError:
    return InputError(
        f"{path} holds no sentence pair ({skipped} lines with an empty side); expected two columns separated by a tab, "
        "or a second file.",
        path=path,
    )


def _side_by_side(source: str | Path, target: str | Path) -> Iterator[Row]:
    sources, targets = list(text_lines(source)), list(text_lines(target))
    if len(sources) != len(targets):
        raise InputError(
            f"{source} has {len(sources)} lines and {target} has {len(targets)}; expected equal numbers, "
            "line by line translations of each other.",
            path=target,
        )
    yield from zip(range(1, len(sources) + 1), map(list, zip(sources, targets, strict=True)), strict=True)
