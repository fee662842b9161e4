"""Read a corpus line by line: text, JSON lines, packed or not, Parquet, or a dataset on the Hub."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from hf_xlt.arguments import checked
from hf_xlt.errors import InputError
from hf_xlt.files.place import commit_in, several, split_revision
from hf_xlt.files.text import COMPRESSED, check_text, json_lines, opened, suffix_of, text_lines

TEXT_COLUMN = "text"

logger = logging.getLogger(__name__)


def _json_lines(path: Path) -> Iterator[str]:
    for number, row in json_lines(path):
        yield from _lines_of(row, path, number, "line")


def _parquet_lines(path: Path) -> Iterator[str]:
    from pyarrow import ArrowException, parquet  # large, and most corpora are text

    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if names.count(TEXT_COLUMN) != 1:
                raise _no_text(dict.fromkeys(names), path, 1, "row")
            row = 0
            for batch in file.iter_batches(columns=[TEXT_COLUMN]):
                for text in batch.column(0).to_pylist():
                    row += 1
                    yield from _lines_of({TEXT_COLUMN: text}, path, row, "row")
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:200]
        problem = f"Corpus {path} cannot be read ({reason}). Check that it is a whole Parquet file."
        raise InputError(problem, path=path) from error


def _hub_lines(name: str) -> Iterator[str]:
    repository, _, configuration = name.partition(":")
    repository, revision = split_revision(repository)
    rows = dataset_rows(f"Corpus {name}", repository, name=configuration or None, revision=revision)
    for number, row in enumerate(rows, start=1):
        yield from _lines_of(row, name, number, "row")


def dataset_rows(what: str, builder: str, *, split: str = "train", **options: Any) -> Iterator[dict[str, Any]]:
    """The rows of a dataset of the Hub, or of files in a format such as `parquet`, streamed; classes by name."""
    from datasets import load_dataset  # large, and most corpora are text
    from datasets.exceptions import DatasetsError

    try:
        rows = load_dataset(builder, split=split, streaming=True, **options)
        named = {}
        for column, feature in (getattr(rows, "features", None) or {}).items():
            if names := getattr(getattr(feature, "feature", feature), "names", None):  # of classes, or lists of them
                named[column] = names
        for row in rows:
            yield row | {column: _named(row[column], found) for column, found in named.items()}
    except (OSError, ValueError, DatasetsError) as error:
        reason = " ".join(str(error).split())[:200]
        problem = f"{what} cannot be read ({reason}). Give a file or a Hub dataset id with a `{split}` split."
        raise InputError(problem) from error


def _named(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_named(item, names) for item in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value


def _lines_of(row: Any, corpus: str | Path, number: int, unit: str) -> list[str]:
    text = row.get(TEXT_COLUMN) if isinstance(row, dict) else None
    if not isinstance(text, str):
        raise _no_text(row, corpus, number, unit)
    return check_text(text, corpus, number, unit).split("\n")


def _no_text(row: Any, corpus: str | Path, number: int, unit: str) -> InputError:
    """What is wrong with a row: there is no such column, or no text in it."""
    hint = "Name the column of texts so."
    if not isinstance(row, dict):
        found = type(row).__name__
    elif TEXT_COLUMN in row:
        value = row[TEXT_COLUMN]
        found = "null there" if value is None else f"{type(value).__name__} there"
        hint = f"Take such {unit}s out, or give them text."
    else:
        found = ", ".join(row).encode("ascii", "backslashreplace").decode()
    problem = f"{corpus}, {unit} {number}: no text in column {TEXT_COLUMN!r}; found {found}"
    return InputError(problem, hint=hint, path=corpus, line=number)


READERS = {".txt": text_lines, ".jsonl": _json_lines, ".parquet": _parquet_lines}
FORMATS = (*(suffix + packed for suffix in (".txt", ".jsonl") for packed in ("", *COMPRESSED)), ".parquet")


@checked
@dataclass(frozen=True)
class Corpus:
    """A text corpus: a local file of a known format, or the `train` split of a Hub dataset.

    A dataset is named `id`, `id:config`, `id@revision` or `id@revision:config`.
    """

    name: str
    several: tuple["Corpus", ...] = field(default=(), repr=False)  # those that are read one after the other

    def __post_init__(self) -> None:
        identifier, _ = split_revision(self.name.partition(":")[0])
        looks_local = self.name.startswith((".", "/", "~")) or identifier.count("/") > 1
        if self.several or not (self._is_format or looks_local or os.path.exists(self.path)):
            return
        if not os.path.isfile(self.path):
            problem = f"Corpus {self.name} is not a file. Check the path, or give a Hub dataset id."
            raise InputError(problem, path=self.path)
        if not self._is_format:
            problem = f"Corpus {self.name}: unknown format; expected one of {', '.join(FORMATS)}."
            raise InputError(problem, path=self.path)
        with opened(self.path) as file:
            if not file.read(1):
                raise InputError(f"Corpus {self.name} is empty. Give a file with text in it.", path=self.path)

    @classmethod
    def of(cls, names: str | Path | Sequence[str | Path]) -> "Corpus":
        """The corpus of that name, or several read one after the other."""
        parts = tuple(cls(str(name)) for name in several(names, "corpus"))
        return parts[0] if len(parts) == 1 else cls(", ".join(part.name for part in parts), parts)

    @property
    def path(self) -> Path:
        """Where it is, if it is a file."""
        return Path(os.path.expanduser(self.name))  # which leaves the home of an unknown user as it is

    @property
    def parts(self) -> tuple["Corpus", ...]:
        """What it is made of: itself, or the corpora that are read one after the other."""
        return self.several or (self,)

    @property
    def _is_format(self) -> bool:
        return self.name.lower().endswith(FORMATS)

    def pinned(self) -> "Corpus":
        """A file as it is; a Hub dataset with the commit that its revision, or without one its newest, stands for now.

        Where the Hub does not tell, the dataset keeps its name, and a notice says so.
        """
        repository, colon, configuration = self.name.partition(":")
        if self._is_format or self.path.is_file() or commit_in(repository):
            return self
        identifier, revision = split_revision(repository)
        try:
            commit = HfApi().dataset_info(identifier, revision=revision).sha
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            logger.warning(f"The Hub does not tell the commit of {self.name} ({type(error).__name__}).")
            return self
        return Corpus(f"{identifier}@{commit}{colon}{configuration}")

    def lines(self) -> Iterator[str]:
        """The non-empty lines, stripped of surrounding white space, in order, streamed."""
        if self.several:
            return chain.from_iterable(part.lines() for part in self.several)
        lines = READERS[suffix_of(self.path)](self.path) if self._is_format else _hub_lines(self.name)
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
