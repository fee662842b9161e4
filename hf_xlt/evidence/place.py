"""Where the examples of a task are: a file, and of a table which columns and which rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hf_xlt.errors import InputError
from hf_xlt.files.text import text_lines

_PLACE = re.compile(r"(?P<path>.+?)(?::(?P<columns>[^:@/\\]+))?(?:@(?P<column>[^:@=/\\]+)=(?P<value>[^@/\\]*))?")


def several(places: str | Path | Sequence[str | Path], what: str) -> tuple[str | Path, ...]:
    """One or several places, as a tuple.

    Args:
        places: One, or a list.
        what: What messages call one of them.

    Raises:
        InputError: If there is none, or one is named twice.
    """
    named = (places,) if isinstance(places, str | Path) else tuple(places)
    if not named:
        raise InputError(f"No {what} is named", value=places, expected="one or more")
    if twice := [place for number, place in enumerate(named) if str(place) in map(str, named[:number])]:
        raise InputError(f"The {what} {twice[0]} is named twice", value=twice[0], expected="each once")
    return named


def file_of(place: str | Path) -> Path:
    """The file of a place: `FILE` of `FILE:column,column`, unless there is a file of that very name."""
    whole = Path(place).expanduser()
    return whole if whole.is_file() else Path(Place.parse(str(place)).path).expanduser()


@dataclass(frozen=True)
class Place:
    """A file, and of a table which columns and which rows.

    Args:
        path: The file, gzipped if its name ends in `.gz`.
        columns: Of a tab-separated file with a header row, the names of those wanted, in order; empty where there is
            no header row and columns go by position.
        column: Only rows that have `value` in this column; None for all.
        value: See `column`.
    """

    path: str
    columns: tuple[str, ...] = ()
    column: str | None = None
    value: str | None = None

    @classmethod
    def parse(cls, text: str) -> Place:
        """`PATH`, `PATH:column,column` or `PATH:column,column@column=value`, e.g. `topics.tsv.gz:de,topic@split=test`.

        Raises:
            InputError: If rows are chosen without naming columns.
        """
        match = _PLACE.fullmatch(text)
        if match is None or (match["column"] and not match["columns"]):
            raise InputError(f"{text!r} is no place of a table; expected PATH:column,column@column=value.")
        columns = tuple(match["columns"].split(",")) if match["columns"] else ()
        return cls(match["path"], columns, match["column"], match["value"])

    def rows(self, count: int) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Line number, from 1, and the wanted cells of each line.

        Args:
            count: How many cells are expected: the columns named, or the first so many.

        Raises:
            InputError: If the file cannot be read, the header row lacks a column, as many columns as expected are not
                named, or a line has too few cells.
        """
        lines = ((number, line.split("\t")) for number, line in enumerate(text_lines(self.path), start=1))
        wanted, filtered = list(range(count)), None
        if self.columns:
            if len(self.columns) != count:
                raise InputError(f"{self.path}: {len(self.columns)} columns named, {count} expected; name those.")
            _, header = next(lines, (1, []))
            wanted = [self._index(header, name) for name in self.columns]
            filtered = None if self.column is None else self._index(header, self.column)
        most = max([*wanted, filtered or 0])
        for number, cells in lines:
            if cells == [""]:
                continue
            if len(cells) <= most:
                raise InputError(f"{self.path}, line {number}: {len(cells)} cells, {most + 1} expected, with tabs.")
            if filtered is None or cells[filtered] == self.value:
                yield number, tuple(cells[i] for i in wanted)

    def _index(self, header: list[str], name: str) -> int:
        if name not in header:
            raise InputError(f"{self.path} has no column {name!r}; its header row names {', '.join(header)}.")
        return header.index(name)
