"""What a name stands for: a file, columns and rows of a table, a repository on the Hub at a revision."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hf_xlt.errors import InputError
from hf_xlt.files.table import Table

_COMMIT = re.compile("[0-9a-f]{40}")
_PLACE = re.compile(r"(?P<path>.+?)(?::(?P<columns>[^:@/\\]+))?(?:@(?P<column>[^:@=/\\]+)=(?P<value>[^@/\\]*))?")


def several(places: str | Path | Sequence[str | Path], what: str) -> tuple[str | Path, ...]:
    """One or several places, as a tuple; messages call one of them `what`."""
    named = (places,) if isinstance(places, str | Path) else tuple(places)
    if not named:
        raise InputError(f"No {what} is named", value=places, expected="one or more")
    if twice := [place for number, place in enumerate(named) if str(place) in map(str, named[:number])]:
        raise InputError(f"The {what} {twice[0]} is named twice", value=twice[0], expected="each once")
    return named


def file_of(place: str | Path) -> Path:
    """The file of a place: `FILE` of `FILE:column,column`, unless there is a file of that very name."""
    return Path(Place.at(os.path.expanduser(place)).path)


def split_revision(name: str) -> tuple[str, str | None]:
    """A Hub id and the revision that `@` adds to it, or None; a file here may have an `@` in its name."""
    if os.path.exists(os.path.expanduser(name)):
        return name, None
    repository, at, revision = name.rpartition("@")
    return (repository, revision) if at and repository and revision else (name, None)


def commit_in(name: str) -> str | None:
    """The commit that a Hub id names by its whole hash."""
    revision = split_revision(name)[1]
    return revision if revision is not None and is_commit(revision) else None


def is_commit(revision: str) -> bool:
    """Whether a revision is the whole hash of a commit, which never stands for anything else."""
    return _COMMIT.fullmatch(revision) is not None


@dataclass(frozen=True)
class Place:
    """A file, and of a table which columns and which rows."""

    path: str  # the file, as `Table.of` takes it
    columns: tuple[str, ...] = ()  # the names of those wanted, in order; empty where there is no header row
    column: str | None = None  # only rows that have `value` in this column; None for all
    value: str | None = None

    def __post_init__(self) -> None:
        if len(set(self.columns)) < len(self.columns):
            problem = f"{self.path}:{','.join(self.columns)} names the same column twice; expected different ones."
            raise InputError(problem, value=self.columns, path=self.path)

    @classmethod
    def at(cls, text: str | Path) -> Self:
        """The file of that very name, if there is one; else as `parse` reads it."""
        return cls(str(text)) if os.path.isfile(text) else cls.parse(str(text))

    @classmethod
    def parse(cls, text: str) -> Self:
        """`PATH`, `PATH:column,column` or `PATH:column,column@column=value`, e.g. `topics.tsv:de,topic@split=test`."""
        match = _PLACE.fullmatch(text)
        if match is None or (match["column"] and not match["columns"]):
            raise InputError(f"{text!r} is no place of a table; expected PATH:column,column@column=value.")
        columns = tuple(name.strip() for name in match["columns"].split(",")) if match["columns"] else ()
        return cls(match["path"], columns, match["column"], match["value"])

    def rows(self, count: int) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Line number, from 1, and the wanted cells of each line: the columns named, or the first so many."""
        table = Table.of(self.path)
        if self.columns:
            if len(self.columns) != count:
                problem = f"{self.path}: {len(self.columns)} columns named, {count} expected; name those."
                raise InputError(problem, path=self.path)
            names, rows = table.named()
            wanted = [self._index(names, name) for name in self.columns]
            filtered = None if self.column is None else self._index(names, self.column)
        elif table.keys:
            raise InputError(
                f"{self.path} has columns with names ({', '.join(table.keys)}); expected {count} of them to be chosen, "
                "as FILE:column,column.",
                path=self.path,
            )
        else:
            wanted, filtered, rows = list(range(count)), None, table.rows()
        most = max([*wanted, filtered or 0])
        for number, cells in rows:
            if cells == [""]:
                continue
            if len(cells) <= most:
                problem = f"{self.path}, line {number}: {len(cells)} cells, {most + 1} expected, with tabs."
                raise InputError(problem, path=self.path, line=number)
            if filtered is None or cells[filtered] == self.value:
                yield number, tuple(cells[i] for i in wanted)

    def _index(self, names: list[str], name: str) -> int:
        if names.count(name) != 1:
            fault = f"has no column {name!r}" if name not in names else f"has several columns {name!r}"
            problem = f"{self.path} {fault}; its header row names {', '.join(names)}."
            raise InputError(problem, value=name, path=self.path, line=1)
        return names.index(name)
