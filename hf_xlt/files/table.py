"""Tables as people have them: rows of cells, separated by tabs, bars or commas, or an object a line."""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

from hf_xlt.files.text import check_text, fault, json_lines, suffix_of, text_lines

SEEN = 1000  # lines that are looked at to find out how a file is written
_JSON = "JSON"
_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')

Row = tuple[int, list[str]]  # a line's number, from 1, and its cells


@dataclass(frozen=True)
class Table:
    """A file of rows; of objects, those inside, such as `translation`, count as parts of the whole."""

    path: Path
    separator: str  # between cells: a tab, `|||` (Moses, fast_align), `,` or `;`; or `JSON`, an object a line
    quoted: bool = False  # whether cells are in quotes, with those inside doubled, as spreadsheets write them
    keys: tuple[str, ...] = ()  # of objects, the keys of texts and numbers

    @classmethod
    def of(cls, path: str | Path, separators: Sequence[str] = ("\t", "|||")) -> Self:
        """Find out how a file is written, from its name and its first lines.

        `.jsonl` has an object a line, `.csv` commas or semicolons; any other has the first of the separators that most
        of its lines hold, or an object a line where the first line is one.
        """
        path = Path(path)
        suffix = suffix_of(path)
        lines = [line for line in islice(text_lines(path), SEEN) if line.strip()]
        if suffix in _JSON_SUFFIXES or (suffix != ".csv" and lines and _is_object(lines[0])):
            return cls(path, _JSON, keys=_keys(path))
        if suffix == ".csv":
            return cls(path, max((",", ";", "\t"), key=lambda separator: _regular(lines, separator)), True)
        for separator in separators:
            if separator in (",", ";"):
                if len(lines) > 1 and _regular(lines, separator) == 1:
                    return cls(path, separator, True)
            elif lines and 2 * sum(separator in line for line in lines) >= len(lines):
                return cls(path, separator, separator == "\t" and _has_quoted_cells(lines))
        return cls(path, "\t")

    def rows(self) -> Iterator[Row]:
        """Number and cells of each line: of objects the cells of `keys`, empty where one has none."""
        if self.separator == _JSON:
            return self._objects()
        if self.quoted and self.separator != "\t":
            return self._quoted()
        return ((number, self._cells(line)) for number, line in enumerate(text_lines(self.path), start=1))

    def named(self) -> tuple[list[str], Iterator[Row]]:
        """The names of the columns, which are the keys or the first row, and the rows behind them."""
        rows = self.rows()
        names = list(self.keys) if self.separator == _JSON else [name.strip() for name in next(rows, (1, []))[1]]
        return names, rows

    def _cells(self, line: str) -> list[str]:
        cells = line.split(self.separator)
        return [_unquoted(cell) for cell in cells] if self.quoted else cells

    def _quoted(self) -> Iterator[Row]:
        reader = csv.reader((f"{line}\n" for line in text_lines(self.path)), delimiter=self.separator, strict=True)
        line, width = 1, 0
        try:
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    width = width or len(cells)
                    if len(cells) != width:
                        raise csv.Error(f"{len(cells)} cells for the {width} of its first row")
                    yield line, cells
                line = reader.line_num + 1
        except csv.Error as error:
            what, expected = f"is no table with {self.separator!r} between cells", "cells that hold it in quotes"
            raise fault(self.path, line, what, f" ({error})", expected=expected) from error

    def _objects(self) -> Iterator[Row]:
        for number, value in json_lines(self.path):
            record = _flat(value, self.path, number)
            yield number, [_cell(record.get(key), key, self.path, number) for key in self.keys]


def _is_object(line: str) -> bool:
    try:
        return line.lstrip().startswith("{") and isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _keys(path: Path) -> tuple[str, ...]:
    """The keys whose values are text, numbers or nothing in the first lines, in order of appearance."""
    kept: dict[str, bool] = {}
    for number, value in islice(json_lines(path), SEEN):
        for key, cell in _flat(value, path, number).items():
            kept[key] = kept.get(key, True) and not isinstance(cell, dict | list)
    return tuple(key for key, plain in kept.items() if plain)


def _flat(value: Any, path: Path, line: int) -> dict[str, Any]:
    """An object with the keys of objects inside among its own."""
    if not isinstance(value, dict):
        expected = 'one on each line, such as {"en": "Yes.", "de": "Ja."}'
        raise fault(path, line, "has no object", f" but a {type(value).__name__}", expected=expected)
    record: dict[str, Any] = {}
    for key, cell in value.items():
        inside = cell if isinstance(cell, dict) else {key: cell}
        if twice := record.keys() & inside.keys():
            raise fault(path, line, f"has the key {min(twice)!r} twice", ".")
        record |= inside
    return record


def _cell(value: Any, key: str, path: Path, line: int) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        raise fault(path, line, f"has a {type(value).__name__} as {key!r}", expected="text, as on the lines before")
    return check_text(value, path, line) if isinstance(value, str) else json.dumps(value)


def _regular(lines: Iterable[str], separator: str) -> float:
    """The share of rows that have as many cells as most have, if these are several."""
    try:
        rows = [len(row) for row in csv.reader((f"{line}\n" for line in lines), delimiter=separator) if row]
    except csv.Error:
        return 0.0
    [(most, count)] = Counter(rows).most_common(1) or [(0, 0)]
    return count / len(rows) if most > 1 else 0.0


def _has_quoted_cells(lines: Iterable[str]) -> bool:
    """Whether tab-separated cells are quoted: all that begin with a quote are whole, and some can be nothing else."""
    cells = [cell for line in lines for cell in line.split("\t")]
    quoted = [cell for cell in cells if cell.startswith('"')]
    whole = bool(quoted) and all(_QUOTED.fullmatch(cell) for cell in quoted)
    return whole and (len(quoted) == len(cells) or any('""' in cell[1:-1] for cell in quoted))


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if _QUOTED.fullmatch(cell) else cell
