"""The data of tasks: local files, and datasets of the Hub.

A local table is `FILE`, `FILE:column,column` or `FILE:column,column@column=value` (see `hf_xlt.files.place`): .tsv and
.csv, packed or not, .jsonl and .parquet. A dataset of the Hub is `namespace/name@split`, with a revision or
configuration before and columns behind, such as `namespace/name@revision:config@split:text,label@lang=de`.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hf_xlt.errors import InputError
from hf_xlt.evidence.translations import ParallelText, read_parallel
from hf_xlt.files import plain_yaml
from hf_xlt.files.content import content_of
from hf_xlt.files.corpora import Corpus, dataset_rows
from hf_xlt.files.place import Place, file_of
from hf_xlt.files.text import check_text, fault, json_lines, suffix_of

Data = Mapping[str, Mapping[str, str | Path]]
"""Task → role → file or dataset."""

_HUB = re.compile(
    r"(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^@:=,/]+))?(?::(?P<config>[^@:=,]+))?@(?P<split>[^@:=,]+)"
    r"(?::(?P<columns>[^@:]+)(?:@(?P<column>[^@:=]+)=(?P<value>.*))?)?"
)


def parse_data(given: Sequence[str]) -> dict[str, dict[str, str]]:
    """Task → role → file or dataset, from `TASK.ROLE=FILE`, each once, and paths of YAML files.

    A YAML file has roles and their files under the names of tasks; its files count from its folder, and what comes
    later rules over it. What is neither, and a YAML file of another form, raise InputError.
    """
    data: dict[str, dict[str, str]] = {}
    seen: set[str] = set()
    for item in given:
        name, equals, place = item.partition("=")
        if not equals and Path(item).suffix in (".yaml", ".yml"):
            for task, roles in _read_yaml(Path(item)).items():
                data.setdefault(task, {}).update(roles)
            continue
        task, dot, role = name.partition(".")
        if not (equals and dot and task and role and place):
            raise InputError(f"data has {item!r}", value=item, expected="TASK.ROLE=FILE or a .yaml file")
        if name in seen:
            raise InputError(f"data names the file of {name} twice", value=place, hint="Name it once.")
        seen.add(name)
        data.setdefault(task, {})[role] = place
    return data


def _read_yaml(path: Path) -> dict[str, dict[str, str]]:
    try:
        loaded: Any = plain_yaml.load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read ({' '.join(str(error).split())}).", path=path) from error
    if not isinstance(loaded, dict) or not all(
        isinstance(roles, dict) and all(isinstance(place, str) for place in roles.values()) for roles in loaded.values()
    ):
        raise InputError(
            f"{path} holds no task data", path=path, expected="names of tasks, under each its roles and their files"
        )

    def found(place: str) -> str:
        local = path.parent / place
        return place if _HUB.fullmatch(place) and not local.exists() else str(local)

    return {str(task): {str(role): found(place) for role, place in roles.items()} for task, roles in loaded.items()}


@dataclass(frozen=True)
class Records:
    """Rows with named columns: a dataset of the Hub, a Parquet file, or objects a line."""

    name: str
    builder: str  # a dataset of the Hub, or parquet or jsonl
    options: Mapping[str, Any]
    columns: tuple[str, ...] = ()
    selection: tuple[str, str] | None = None  # a column and the value its rows must have

    @classmethod
    def at(cls, place: str) -> "Records | None":
        """The records at a place; None where there is a file of another kind."""
        local = Place.at(os.path.expanduser(place))
        selection = None if local.column is None else (local.column, local.value or "")
        suffix = suffix_of(local.path)
        if suffix in (".parquet", ".jsonl", ".ndjson"):
            return cls(place, suffix[1:].replace("ndjson", "jsonl"), {"path": local.path}, local.columns, selection)
        found = _HUB.fullmatch(place)
        if found is None or os.path.exists(local.path):
            return None
        options = {"revision": found["revision"], "name": found["config"], "split": found["split"]}
        columns = tuple(map(str.strip, found["columns"].split(","))) if found["columns"] else ()
        return cls(place, found["id"], options, columns, (found["column"], found["value"]) if found["column"] else None)

    @property
    def on_hub(self) -> bool:
        """Whether it is a dataset of the Hub, and no file."""
        return "path" not in self.options

    def rows(self, *defaults: str) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """Number, from 1, and wanted values of each row that is selected; names stand in place of class numbers."""
        wanted = self.columns or defaults
        if len(wanted) != len(defaults):
            expected = f"{len(defaults)} ({', '.join(defaults)})"
            raise InputError(f"{self.name} names {len(wanted)} columns", value=wanted, expected=expected)
        for number, row in self._all():
            for column in (*wanted, *(self.selection or ())[:1]):
                if column not in row:
                    what, hint = f"has no column {column!r} among {', '.join(row)}", "Name columns behind a colon."
                    raise fault(self.name, number, what, unit="row", value=column, hint=hint)
            if self.selection is None or str(row[self.selection[0]]) == self.selection[1]:
                yield number, tuple(row[column] for column in wanted)

    def _all(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        if self.builder == "jsonl":
            for number, row in json_lines(self.options["path"]):
                if not isinstance(row, dict):
                    raise fault(self.options["path"], number, "has no object")
                yield number, row
            return
        options = dict(self.options)
        if self.builder == "parquet":
            options = {"data_files": options["path"], "split": "train"}
        yield from enumerate(dataset_rows(self.name, self.builder, **options), start=1)


def text_rows(place: str, *columns: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Line or row number, from 1, and the texts of the wanted columns of each.

    A table that cannot be read or has other columns, and a cell that is no text, raise InputError.
    """
    records = Records.at(place)
    if records is None or records.builder == "jsonl":
        yield from Place.parse(os.path.expanduser(place)).rows(len(columns))
        return
    for number, cells in records.rows(*columns):
        for cell in cells:
            if isinstance(cell, list | dict):
                raise fault(place, number, f"has a {type(cell).__name__}", unit="row", value=cell, expected="text")
        yield number, tuple("" if cell is None else check_text(str(cell), place, number, "row") for cell in cells)


def text_lines_of(place: str) -> Iterator[str]:
    """The lines of a corpus, or of one column of a table or dataset, none of them empty."""
    records, local = Records.at(place), Place.parse(place)
    if (records is not None and records.on_hub) or (local.columns and Path(local.path).is_file()):
        return (stripped for _, (cell,) in text_rows(place, "text") if (stripped := cell.strip()))
    return Corpus(place).lines()


def read_pairs(place: str) -> ParallelText:
    """Texts that translate each other, source first: of two columns of a table or dataset, two pairs at least."""
    records = Records.at(place)
    if records is None or records.builder == "jsonl":
        text = read_parallel(place)
    else:
        rows = [(number, tuple(map(str.strip, cells))) for number, cells in text_rows(place, "source", "target")]
        whole = tuple((cells[0], cells[1]) for _, cells in rows if all(cells))
        text = ParallelText(whole, tuple(number for number, cells in rows if not all(cells)))
    if len(text) < 2:
        raise InputError(
            f"{place} has {len(text)} pairs and {len(text.skipped)} lines with an empty side",
            expected="two pairs or more, source and target with a tab between them",
        )
    return text


def content_at(place: str) -> str:
    """A digest of a file, or the commit that a dataset of the Hub stands for now."""
    place = place if os.path.exists(place) else place.partition("#")[0]
    records = Records.at(place)
    if records is None or not records.on_hub:
        return content_of(file_of(place))
    revision = records.options["revision"]
    return Corpus(records.builder + (f"@{revision}" if revision else "")).pinned().name
