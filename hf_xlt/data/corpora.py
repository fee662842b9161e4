"""Read a corpus line by line: text, gzipped text, JSON lines, Parquet, or a dataset on the Hub."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from hf_xlt.arguments import checked
from hf_xlt.errors import InputError
from hf_xlt.files.text import text_lines

TEXT_COLUMN = "text"


def _json_lines(path: Path) -> Iterator[str]:
    for number, line in enumerate(text_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path} is not JSON at line {number} ({error}). Write one object a line.") from error
        yield from _lines_of(row, f"{path}, line {number}")


def _parquet_lines(path: Path) -> Iterator[str]:
    return _dataset_lines(str(path), "parquet", data_files=str(path))


def _hub_lines(name: str) -> Iterator[str]:
    repository, _, configuration = name.partition(":")
    return _dataset_lines(name, repository, name=configuration or None)


def _dataset_lines(corpus: str, builder: str, **kwargs: Any) -> Iterator[str]:
    for row in _dataset_rows(corpus, builder, **kwargs):
        yield from _lines_of(row, corpus)


def _dataset_rows(corpus: str, builder: str, **kwargs: Any) -> Iterator[dict[str, Any]]:
    from datasets import load_dataset  # large, and most corpora are text
    from datasets.exceptions import DatasetsError

    try:
        yield from load_dataset(builder, split="train", streaming=True, **kwargs)
    except (OSError, ValueError, DatasetsError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"Corpus {corpus} cannot be read ({reason}). Give a file or a Hub dataset id with a `train` split."
        ) from error


def _lines_of(row: Any, where: str) -> list[str]:
    if not isinstance(row, dict) or not isinstance(row.get(TEXT_COLUMN), str):
        found = ", ".join(row) if isinstance(row, dict) else type(row).__name__
        raise InputError(f"{where}: no text in column {TEXT_COLUMN!r}; found {found}. Rename the column.")
    return row[TEXT_COLUMN].split("\n")


READERS: dict[str, Callable[[Path], Iterator[str]]] = {
    ".txt": text_lines,
    ".txt.gz": text_lines,
    ".jsonl": _json_lines,
    ".jsonl.gz": _json_lines,
    ".parquet": _parquet_lines,
}


@checked
@dataclass(frozen=True)
class Corpus:
    """A text corpus: a local file of a known format, or the `train` split of a Hub dataset, `id` or `id:config`.

    Raises:
        InputError: On construction, if a local path is missing, a folder, empty or of an unknown format.
    """

    name: str

    def __post_init__(self) -> None:
        if not (self._looks_local or self.path.exists()):
            return
        if not self.path.is_file():
            raise InputError(f"Corpus {self.name} is not a file. Check the path, or give a Hub dataset id.")
        if self._suffix is None:
            raise InputError(f"Corpus {self.name}: unknown format; expected one of {', '.join(READERS)}.")
        if self.path.stat().st_size == 0:
            raise InputError(f"Corpus {self.name} is empty. Give a file with text in it.")

    @property
    def path(self) -> Path:
        """Where it is, if it is a file."""
        return Path(self.name).expanduser()

    @property
    def _looks_local(self) -> bool:
        return self._suffix is not None or self.name.startswith((".", "/", "~")) or self.name.count("/") > 1

    @property
    def _suffix(self) -> str | None:
        return next((suffix for suffix in READERS if self.name.endswith(suffix)), None)

    def lines(self) -> Iterator[str]:
        """The non-empty lines, stripped of surrounding white space, in order, streamed.

        Raises:
            InputError: At the first line that cannot be read: not UTF-8, not JSON, or without a `text` column.
        """
        lines = _hub_lines(self.name) if self._suffix is None else READERS[self._suffix](self.path)
        return (stripped for line in lines if (stripped := line.strip()))


@checked
@dataclass(frozen=True)
class Split:
    """A corpus divided into training and held-out lines.

    Either `held_out` names a second corpus, or every `every`-th line of `corpus` is held out, up to `limit`
    lines; lines beyond the limit are trained on.
    """

    corpus: Corpus
    held_out: Corpus | None = None
    every: int = 100
    limit: int = 1000

    def __post_init__(self) -> None:
        if self.every < 2 or self.limit < 1:
            raise InputError(f"Held-out split every={self.every}, limit={self.limit}; expected every ≥ 2, limit ≥ 1.")
        if self.held_out == self.corpus:
            raise InputError(f"{self.corpus.name} is both trained on and held out; name another file, or none.")

    def _is_held_out(self, index: int) -> bool:
        return self.held_out is None and index % self.every == 0 and index // self.every < self.limit

    def training_lines(self) -> Iterator[str]:
        """The lines to train on."""
        return (line for i, line in enumerate(self.corpus.lines()) if not self._is_held_out(i))

    def held_out_lines(self) -> Iterator[str]:
        """The lines to measure on; never among the training lines unless a separate file repeats them."""
        if self.held_out is not None:
            return self.held_out.lines()
        return islice(self.corpus.lines(), 0, self.every * self.limit, self.every)
