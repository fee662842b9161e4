"""Words and their vectors, read out of a file of many, one entry at a time."""

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from hf_xlt.arguments import short
from hf_xlt.errors import InputError
from hf_xlt.evidence.vectors.fasttext import check_width, is_fasttext, read_fasttext
from hf_xlt.files.text import fault, first_numbers, opened

logger = logging.getLogger(__name__)

_SEEN = 100
_READ = 2**20
_WIDEST = 100_000
_LONGEST_WORD = 10_000
_BOM = "\ufeff".encode()
_HEADER = re.compile(rb"\s*(\d{1,12})\s+(\d{1,12})\s*")
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")


@dataclass(frozen=True, eq=False)
class Vectors:
    """Words and their vectors."""

    words: Sequence[str]  # by falling frequency, each once
    table: Tensor  # float32 `(n, d)`, a row a word

    def __post_init__(self) -> None:
        if not self.words or self.table.ndim != 2 or len(self.table) != len(self.words):
            raise InputError(
                f"{len(self.words)} words and vectors of shape {tuple(self.table.shape)} do not fit",
                expected="at least one word and a row for each",
            )
        if len(set(self.words)) < len(self.words):
            raise InputError("A word is given twice", expected="each once, with one vector")
        broken = (~self.table.isfinite()).any(dim=1).nonzero()
        if len(broken):
            told = f"The vector of {self.words[int(broken[0])]!r} holds NaN or infinity"
            raise InputError(told, expected="numbers", hint="Train or export the vectors again.")

    def __repr__(self) -> str:
        return f"Vectors({len(self.words):,} words from {short(self.words[0], 40)} on, {self.table.shape[1]} wide)"

    def placed(self, tokens: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Float32 `(V, d)`, zero where a token has no vector, and the ids of the others by falling frequency."""
        row_of = {word: row for row, word in enumerate(self.words)}
        rows = torch.tensor([row_of.get(token, -1) for token in tokens], dtype=torch.int64)
        known = rows >= 0
        table = self.table.new_zeros(len(tokens), self.table.shape[1])
        table[known] = self.table[rows[known]]
        ids = known.nonzero().squeeze(1)
        return table, ids[rows[ids].argsort(stable=True)]


def read_words(path: str | Path, words: Collection[str], width: int | None = None) -> Vectors:
    """Read the vectors of the given words, of one width or of any; no others are held in memory.

    Which format the file has is told by its content: fastText's or word2vec's binary one (`.bin`), their text format
    (`.vec`), or GloVe's, which has no first line of sizes. All but fastText's may be packed, such as `.vec.gz`. Words
    that the file lacks are left out, except that a fastText `.bin` makes them of their character n-grams; they come
    last.
    """
    path = Path(path).expanduser()
    wanted = set(words)
    found = read_fasttext(path, wanted, width) if is_fasttext(path) else _read(open_vectors(path, width), wanted)
    return _vectors(path, found, f"none of the {len(words)} words", "Check how they are spelled.")


def first_vectors(path: Path, most: int) -> Vectors:
    """The vectors of the first words of a file that is not fastText's."""
    return _vectors(path, _read(open_vectors(path), None, most), "no word", "Check that the file is whole.")


def vector_count(path: Path) -> int | None:
    """How many vectors a file says it has; None if it does not say, as those of GloVe and fastText's models."""
    return None if is_fasttext(path) else open_vectors(path).count


def _read(file: "VectorFile", words: set[str] | None, most: int | None = None) -> dict[str, np.ndarray]:
    """The vectors of the words, or of all, up to a number; of equal words the first counts."""
    found: dict[str, np.ndarray] = {}
    again, broken, foreign = [], [], 0
    for entry in tqdm(file.entries(), desc=file.path.name, unit="word", total=file.count, disable=None):
        try:
            word = entry.word.decode()
        except UnicodeDecodeError:
            broken.append(entry.place)
            continue
        foreign += not word.isascii()
        if words is not None and word not in words:
            continue
        if word in found:
            again.append(entry.place)
            continue
        found[word] = file.vector(entry)
        if len(found) == most:
            break
    if len(broken) > foreign:
        raise InputError(
            f"{file.path} is not UTF-8 at {file.unit} {broken[0]}, nor are most of its words that are not ASCII",
            hint="Convert it first, e.g. with `iconv -t UTF-8`.",
            path=file.path,
            line=broken[0],
        )
    name = "lines" if file.unit == "line" else "entries"
    for places, which in ((broken, "words are not UTF-8"), (again, "words were there before")):
        if places:
            left_out = f"{len(places)} vectors are left out, whose {which}"
            logger.warning(f"{file.path}: {left_out}: {name} {first_numbers(places)}")
    return found


def _vectors(path: Path, found: dict[str, np.ndarray], nothing: str, hint: str) -> Vectors:
    if not found:
        raise InputError(f"Vectors {path} have {nothing}", expected="some", hint=hint, path=path)
    return Vectors(tuple(found), torch.from_numpy(np.stack(list(found.values()))))


class Entry(NamedTuple):
    """A word as it is written, its numbers, and where it is: its line or, in a binary file, its place, from 1."""

    word: bytes
    row: bytes
    place: int


@dataclass(frozen=True)
class VectorFile(ABC):
    """A file of words and their vectors, packed or not."""

    path: Path
    count: int | None  # how many entries it says it has; None where it does not say
    width: int

    unit = "line"

    def entries(self) -> Iterator[Entry]:
        """All entries, in the order of the file."""
        with opened(self.path) as file:
            if self.count is not None:
                file.readline()
            found = 0
            for entry in self._entries(file):
                found += 1
                yield entry
        if self.count is not None and found != self.count:
            told, expected = f"{self.path} has {found} vectors", f"{self.count}, as its first line says"
            hint = "Check that the file is whole, or correct that line."
            raise InputError(told, expected=expected, hint=hint, value=found, path=self.path)

    def vector(self, entry: Entry) -> np.ndarray:
        """float32 `(width,)`."""
        row = self._row(entry)
        if np.isfinite(row).all():
            return row
        word, place = entry.word.decode("utf-8", "replace"), f"{self.unit} {entry.place} of {self.path}"
        told, hint = f"The vector of {word!r} holds NaN or infinity, at {place}", "Train or export the vectors again."
        raise InputError(told, expected="numbers", hint=hint, path=self.path, line=entry.place)

    @abstractmethod
    def _entries(self, file: BinaryIO) -> Iterator[Entry]:
        """The entries of a file that stands behind its first line, if that gives their number."""

    @abstractmethod
    def _row(self, entry: Entry) -> np.ndarray:
        """The numbers of an entry, finite or not."""


class TextFile(VectorFile):
    """A word and its numbers a line, with spaces or tabs between; a word may hold spaces."""

    def _entries(self, file: BinaryIO) -> Iterator[Entry]:
        for number, line in enumerate(file, start=1 if self.count is None else 2):
            if not (stripped := line.removeprefix(_BOM).rstrip()):
                continue
            if stripped.count(b" ") == self.width and b"\t" not in stripped and stripped[:1] != b" ":
                word, _, row = stripped.partition(b" ")
                yield Entry(word, row, number)
                continue
            fields = stripped.rsplit(None, self.width)
            if len(fields) == self.width and stripped[:1].isspace():
                fields.insert(0, b" ")  # the word is a space
            if len(fields) <= self.width:
                raise _other_width(self.path, number, len(fields) - 1, self.width)
            yield Entry(fields[0], b" ".join(fields[1:]), number)

    def _row(self, entry: Entry) -> np.ndarray:
        try:
            if b"_" in entry.row:  # which Python takes for a mark between digits
                raise ValueError("an underscore")
            return np.array(entry.row.split(), dtype=np.float32)
        except ValueError as error:
            raise fault(self.path, entry.place, "has a field that is no number", f" ({error}).") from error


class Word2vecFile(VectorFile):
    """A word, a space and its numbers as little-endian float32, perhaps a line feed, without anything between."""

    unit = "entry"

    def _entries(self, file: BinaryIO) -> Iterator[Entry]:
        size, held, start = 4 * self.width, b"", 0
        for number in range(1, (self.count or 0) + 1):
            while (space := held.find(b" ", start)) < 0 or len(held) < space + 1 + size:
                more = file.read(_READ)
                if not more or len(held) - start > _READ + size + _LONGEST_WORD:
                    raise self._broken(f"breaks off at entry {number - 1} of {self.count}", number)
                held, start = held[start:] + more, 0
            word = held[start:space].lstrip(b"\r\n")  # some writers end an entry with a line feed
            if len(word) > _LONGEST_WORD or not _is_text(word):
                raise self._broken(f"has no word at entry {number} of {self.count}", number)
            start = space + 1 + size
            yield Entry(word, held[space + 1 : start], number)
        if held[start:].strip() or file.read(_READ).strip():
            raise self._broken(f"goes on behind its {self.count} entries", self.count or 0)

    def _row(self, entry: Entry) -> np.ndarray:
        return np.frombuffer(entry.row, dtype="<f4")

    def _broken(self, fault: str, entry: int) -> InputError:
        told = f"{self.path} {fault}, where each should be a word without spaces and {self.width} numbers"
        expected, hint = "word2vec's binary format", "Check that the file is whole."
        return InputError(told, expected=expected, hint=hint, path=self.path, line=entry)


def _is_text(word: bytes) -> bool:
    """Whether bytes are a word: numbers, where entries are not where they should be, hardly ever are."""
    try:
        return bool(word.decode()) and not _CONTROL.search(word)
    except UnicodeDecodeError:
        return False


def _fields(lines: Sequence[bytes]) -> list[list[bytes]]:
    """The word and the numbers of each line that is not blank; the word may be a space."""
    return [[b" "] * line[:1].isspace() + line.split() for line in lines if line.strip()]


def open_vectors(path: Path, width: int | None = None) -> VectorFile:
    """Find out from its first bytes how a file is written, whose vectors must have a width, or any."""
    with opened(path) as file:
        start = file.read(_READ).removeprefix(_BOM)
    first, _, rest = start.partition(b"\n")
    lines = rest.split(b"\n")[: -1 if len(start) >= _READ - len(_BOM) and b"\n" in rest else None][:_SEEN]
    header = _HEADER.fullmatch(first)
    if header is None:
        # GloVe's text format: the width is that of the first lines, of which one at least has a word without spaces.
        fields = _fields([first, *lines])
        found = min(map(len, fields), default=0) - 1
        if not 0 < found <= _WIDEST or not all(_NUMBER.fullmatch(field) for row in fields for field in row[-found:]):
            raise _unknown(path)
        check_width(path, found, width)
        return TextFile(path, None, found)
    count, found = int(header[1]), int(header[2])
    check_width(path, found, width)
    if not (count and 0 < found <= _WIDEST):
        raise _unknown(path)
    binary = path.name.lower().removesuffix(".gz").endswith(".bin") or _CONTROL.search(rest)
    if binary and not _NUMBER.fullmatch((lines[0].split() or [b""])[-1]):
        return Word2vecFile(path, count, found)
    # Where all lines have more numbers than the header says, these would be taken for parts of words.
    fields = _fields(lines)
    if fields and all(len(row) > found + 1 and _NUMBER.fullmatch(row[-found - 1]) for row in fields):
        raise _other_width(path, 2, len(fields[0]) - 1, found)
    return TextFile(path, count, found)


def _other_width(path: Path, line: int, found: int, width: int) -> InputError:
    return fault(path, line, f"has {found} numbers", expected=f"{width}, as its first line says", value=found)


def _unknown(path: Path) -> InputError:
    told = f"{path} does not begin with the number and the width of its vectors, nor with a word and its numbers"
    return InputError(told, expected="a .vec or .bin", path=path)
