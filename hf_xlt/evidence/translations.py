"""Parallel text and bilingual dictionaries: texts that translate each other, read from the formats they have."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import ClassVar, TypeVar

from hf_xlt.arguments import checked
from hf_xlt.errors import InputError
from hf_xlt.evidence.columns import find_columns
from hf_xlt.files.place import Place, several
from hf_xlt.files.printable import tell
from hf_xlt.files.table import SEEN, Row, Table
from hf_xlt.files.text import first_numbers, text_lines

_SEPARATORS = ("\t", "|||", ",", ";")
_SPACED = re.compile(
    "(?:{number}{space})?(?!#)({word}){space}({word})(?:{space}{number})?".format(
        number=r"[+\-]?[0-9.]*[0-9](?:[eE][+\-]?[0-9]+)?", space="[ \u3000]+", word="[^ \u3000]+"
    )
)
"""Two words with spaces between, perhaps with a number before or behind them; the first of a comment is none."""

_MANY = 10  # fewer lines than that are left out and named, whatever else the file holds

Places = str | Path | Sequence[str | Path]


@dataclass(frozen=True, repr=False)
class Translations:
    """Texts and their translations."""

    # source and target text, stripped of surrounding white space, neither of them empty
    pairs: tuple[tuple[str, str], ...]
    skipped: tuple[int, ...] = ()  # numbers of the lines, from 1, that were left out
    lines: tuple[int, ...] = ()  # number of the line of each pair; empty if the pairs are of no file
    reading: str = ""  # how the file was read, as one line, where that is not plain

    # What messages call one of them, a line that holds none, several such lines, and what was expected.
    _unit: ClassVar[str]
    _fault: ClassVar[str]
    _faults: ClassVar[str]
    _expected: ClassVar[str]

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        first = f", first {self.pairs[0][0][:30]!r}: {self.pairs[0][1][:30]!r}" if self.pairs else ""
        skipped = f", {len(self.skipped):,} lines skipped" if self.skipped else ""
        return f"{type(self).__name__}({len(self):,} pairs{first}{skipped})"

    @property
    def notice(self) -> str:
        """How the file was read and what was left out of it, as one line; empty where all is plain."""
        left_out = f"{self._left_out(len(self.skipped))}: {first_numbers(self.skipped)}" if self.skipped else ""
        return "; ".join(part for part in (self.reading, left_out) if part)

    def _left_out(self, count: int) -> str:
        lines = "line" if count == 1 else "lines"
        return f"{count} {lines} with an empty side or a cell too many left out of {len(self) + count}"


class ParallelText(Translations):
    """Sentences and their translations; of two files or two columns of a table, as `read_parallel` reads them."""

    _unit = "sentence pair"
    _fault = "with an empty side"
    _faults = "have an empty side or a cell too many"
    _expected = "two columns separated by a tab, or a second file"


@dataclass(frozen=True, repr=False)
class Dictionary(Translations):
    """Words and their translations, one or several a side, each pair once; as `read_dictionary` reads them.

    InputError is raised if there is no entry, or one without a source or a target side.
    """

    _unit = "dictionary entry"
    _fault = "without a word on both sides"
    _faults = "have no word on both sides"
    _expected = "a word, a tab and its translation on each line"

    def __post_init__(self) -> None:
        if not self.pairs:
            raise InputError(
                "The dictionary is empty", value=self.pairs, expected="at least one word and its translation"
            )
        if one_sided := [entry for entry in self.pairs if len(entry) != 2 or not all(side.strip() for side in entry)]:
            raise InputError(
                f"The dictionary entry {one_sided[0]} is one-sided",
                value=one_sided[0],
                expected="a word and its translation",
            )

    def _left_out(self, count: int) -> str:
        lines = "line that is no entry" if count == 1 else "lines that are no entries"
        return f"{count} {lines} left out of the dictionary"


Read = TypeVar("Read", bound=Translations)
Pairs = Iterable[tuple[int, tuple[str, str]]]
"""The number of each line and its two texts, one of them empty where the line is to be left out."""


@checked
def read_parallel(
    source: Places | ParallelText,
    target: str | Path | None = None,
    columns: tuple[int, int] | None = None,
) -> ParallelText:
    """Read sentence pairs; what is left out of a file is logged.

    InputError is raised if no file or one twice is named, one is missing, damaged or not UTF-8, the two files have
    different numbers of lines, the header row lacks a column or a line its cell, there are not two columns of texts, or
    more lines have to be left out than can be read.

    Args:
        source: A table, as `Table.of` takes it, or `FILE:source,target`, as a `Place` is written, with the names of its
            columns, or several of these, read one after the other; or, with `target`, a file of source sentences. What
            has been read already is handed back.
        target: A file of their translations, with as many lines.
        columns: Positions of source and target in a table without a header row. None: the two columns of texts, as
            `find_columns` finds them; a first row of names is left out.
    """
    if isinstance(source, ParallelText):
        return source
    if target is not None and isinstance(source, str | Path):
        return _gathered(ParallelText, source, *_with_columns(_side_by_side(source, target), source))
    return _joined(source, "file of translation pairs", lambda path: _read_parallel(path, columns), ParallelText)


def _read_parallel(path: str | Path, columns: tuple[int, int] | None) -> ParallelText:
    place = Place.at(path)
    if place.columns:
        return _gathered(ParallelText, path, _sides(place.rows(2)))
    table = Table.of(path)
    if columns is None:
        return _gathered(ParallelText, path, *_with_columns(table.rows(), path, table.keys))
    if min(columns) < 0 or columns[0] == columns[1]:
        raise InputError(f"columns is {columns}", value=columns, expected="two different positions from 0")
    return _gathered(ParallelText, path, _sides(table.rows(), *columns))


def _with_columns(rows: Iterable[Row], path: str | Path, keys: Sequence[str] = ()) -> tuple[Pairs, str]:
    """The two columns of texts, found by looking at the first rows, and how they were found."""
    rows = iter(rows)
    first = list(islice(rows, SEEN))
    seen = [(number, cells) for number, cells in first if any(cell.strip() for cell in cells)]
    if not seen:
        raise _nothing(ParallelText, path, len(first))
    found = find_columns(seen, path, keys)
    body = (row for row in chain(first, rows) if not (found.headed and row[0] == seen[0][0]))
    return _sides(body, found.source, found.target, found.width), found.notice


def _side_by_side(source: str | Path, target: str | Path) -> list[Row]:
    sources, targets = list(text_lines(source)), list(text_lines(target))
    if len(sources) != len(targets):
        raise InputError(
            f"{source} has {len(sources)} lines and {target} has {len(targets)}",
            value=(len(sources), len(targets)),
            expected="equal numbers, line by line translations of each other",
            path=target,
        )
    return [(number, list(pair)) for number, pair in enumerate(zip(sources, targets, strict=True), start=1)]


@checked
def read_dictionary(path: Places | Dictionary, source_column: int = 0) -> Dictionary:
    """Read a dictionary: an entry a line, a word in each of two columns; lines left out are logged.

    Columns are separated by a tab, `|||`, a comma or a semicolon (words may then have spaces, as in Wiktionary's
    entries; further columns, such as the split of the MUSE dictionaries, are ignored), or, on lines without such, by a
    space (MUSE: exactly two words). Columns of numbers, and a first row of names, are left out. InputError is raised if
    no file or one twice is named, one cannot be read, or more lines have to be left out than can be read.

    Args:
        path: A table, as `Table.of` takes it, or `FILE:source,target`, as a `Place` is written, with the names of its
            columns; or several of these. A dictionary that has been read already is handed back.
        source_column: 0 if the words of the source language come first, 1 if they come second.
    """
    if source_column not in (0, 1):
        raise InputError(
            f"source_column is {source_column}", value=source_column, expected="0 or 1, one of the first two columns"
        )
    if isinstance(path, Dictionary):
        return path
    return _joined(path, "dictionary", lambda each: _read_dictionary(each, source_column), Dictionary)


def _read_dictionary(path: str | Path, source_column: int) -> Dictionary:
    place = Place.at(path)
    if place.columns:
        return _gathered(Dictionary, path, _sides(place.rows(2), source_column, 1 - source_column))
    table = Table.of(path, _SEPARATORS)
    numbered = ((number, _cells(cells)) for number, cells in table.rows())
    rows = [(number, cells) for number, cells in numbered if any(cells)]
    if all(len(cells) < 2 for _, cells in rows):
        raise _nothing(Dictionary, path, len(rows))
    if table.keys and len(rows) == 1:
        expected = "one for each entry, on a line of its own, or a table with tabs"
        raise InputError(f"{path} is one object", expected=expected, path=path)
    found = find_columns([row for row in rows[:SEEN] if len(row[1]) > 1], path, table.keys, alike_from=SEEN)
    columns = found.source, found.target
    pairs = _sides(rows[found.headed :], columns[source_column], columns[1 - source_column])
    return _gathered(Dictionary, path, pairs, found.notice)


def _cells(cells: Sequence[str]) -> list[str]:
    """The cells of a line, stripped; its two words, if it is no comment and lacks the table's separator."""
    stripped = [cell.strip() for cell in cells]
    words = _SPACED.fullmatch(stripped[0]) if len(stripped) == 1 else None
    return stripped if words is None else [*words.groups()]


def _sides(
    rows: Iterable[tuple[int, Sequence[str]]], source: int = 0, target: int = 1, most: int | None = None
) -> Pairs:
    """Two cells of each row; none of a row that lacks one, or has too many."""
    for number, cells in rows:
        fits = max(source, target) < len(cells) <= (most or len(cells))
        yield number, (cells[source].strip(), cells[target].strip()) if fits else ("", "")


def _gathered(kind: type[Read], path: str | Path, rows: Pairs, reading: str = "") -> Read:
    """What one file holds; refused where more of it is left out than read."""
    pairs, lines, skipped = [], [], []
    for number, pair in rows:
        if all(pair):
            pairs.append(pair)
            lines.append(number)
        else:
            skipped.append(number)
    if not pairs:
        raise _nothing(kind, path, len(skipped))
    if len(skipped) > len(pairs) and len(skipped) >= _MANY:
        lines_of = f"{len(skipped)} of {len(skipped) + len(pairs)} lines"
        raise InputError(
            f"{path}: {lines_of} {kind._faults} (lines {first_numbers(skipped)})",
            value=len(skipped),
            expected="a file of which most can be read",
            hint="Check what separates its columns, or take those lines out.",
            path=path,
            line=skipped[0],
        )
    if kind is Dictionary:
        first = dict(zip(reversed(pairs), reversed(lines), strict=True))
        pairs = list(dict.fromkeys(pairs))
        lines = [first[pair] for pair in pairs]
    return kind(tuple(pairs), tuple(skipped), tuple(lines), reading)


def _nothing(kind: type[Translations], path: str | Path, skipped: int) -> InputError:
    return InputError(
        f"{path} holds no {kind._unit} ({skipped} lines {kind._fault})", expected=kind._expected, path=path
    )


def _joined(paths: Places, what: str, read: Callable[[str | Path], Read], kind: type[Read]) -> Read:
    """What one or several files hold, one after the other, each entry of a dictionary once; notices are logged."""
    parts = {path: read(Path(path).expanduser()) for path in several(paths, what)}
    for path, part in parts.items():
        if part.notice:
            tell(str(path), part.notice)
    if len(parts) == 1:
        return next(iter(parts.values()))
    pairs = chain.from_iterable(part.pairs for part in parts.values())
    return kind(tuple(dict.fromkeys(pairs) if kind is Dictionary else pairs))
