"""Read a corpus line by line: text, gzipped text, JSON lines, Parquet, or a dataset on the Hub."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from datasets import load_dataset

from hf_xlt.errors import InputError

TEXT_COLUMN = "text"


def _text_lines(path: Path) -> Iterator[str]:
    opener: Callable[..., Iterable[bytes]] = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:  # type: ignore[attr-defined]
        for number, line in enumerate(file, start=1):
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{path} is not UTF-8 at line {number} (byte {error.start} of the line). "
                    "Convert it first, e.g. with `iconv -t UTF-8`."
                ) from error


def _rows(builder: str, **kwargs: object) -> Iterator[str]:
    dataset = load_dataset(builder, split="train", streaming=True, **kwargs)
    for row in dataset:
        if TEXT_COLUMN not in row:
            raise InputError(
                f"The corpus has the columns {', '.join(row)}; expected one named {TEXT_COLUMN!r}. Rename it."
            )
        yield from row[TEXT_COLUMN].splitlines()


def _json_lines(path: Path) -> Iterator[str]:
    return _rows("json", data_files=str(path))


def _parquet_rows(path: Path) -> Iterator[str]:
    return _rows("parquet", data_files=str(path))


def _hub_rows(name: str) -> Iterator[str]:
    repository, _, configuration = name.partition(":")
    return _rows(repository, name=configuration or None)


READERS: dict[str, Callable[[Path], Iterator[str]]] = {
    ".txt": _text_lines,
    ".txt.gz": _text_lines,
    ".jsonl": _json_lines,
    ".jsonl.gz": _json_lines,
    ".parquet": _parquet_rows,
}


@dataclass(frozen=True)
class Corpus:
    """A text corpus: a local file of a known format, or the `train` split of a Hub dataset, `id` or `id:config`.

    Raises:
        InputError: On construction, if a local path is missing, a folder, empty or of an unknown format.
    """

    name: str

    def __post_init__(self) -> None:
        path = Path(self.name)
        if not (self._looks_local or path.exists()):
            return
        if not path.is_file():
            raise InputError(f"Corpus {self.name} is not a file. Check the path, or give a Hub dataset id.")
        if self._suffix is None:
            raise InputError(f"Corpus {self.name}: unknown format; expected one of {', '.join(READERS)}.")
        if path.stat().st_size == 0:
            raise InputError(f"Corpus {self.name} is empty. Give a file with text in it.")

    @property
    def _looks_local(self) -> bool:
        return self._suffix is not None or self.name.startswith((".", "/", "~")) or self.name.count("/") > 1

    @property
    def _suffix(self) -> str | None:
        return next((suffix for suffix in READERS if self.name.endswith(suffix)), None)

    def lines(self) -> Iterator[str]:
        """The non-empty lines, stripped of surrounding white space, in order, streamed.

        Raises:
            InputError: At the first line that is not UTF-8, or if rows have no `text` column.
        """
        path = Path(self.name)
        reader = READERS[self._suffix](path) if path.is_file() and self._suffix else _hub_rows(self.name)
        return (stripped for line in reader if (stripped := line.strip()))


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

    def _is_held_out(self, index: int) -> bool:
        return self.held_out is None and index % self.every == 0 and index // self.every < self.limit

    def training_lines(self) -> Iterator[str]:
        """The lines to train on."""
        return (line for i, line in enumerate(self.corpus.lines()) if not self._is_held_out(i))

    def held_out_lines(self) -> Iterator[str]:
        """The lines to measure on; never among the training lines unless a separate file repeats them."""
        if self.held_out is not None:
            return self.held_out.lines()
        return self._sampled_lines()

    def _sampled_lines(self) -> Iterator[str]:
        for i, line in enumerate(self.corpus.lines()):
            if i >= self.every * self.limit:
                return
            if self._is_held_out(i):
                yield line
