"""Words and their vectors, read out of a file of many, one entry at a time."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from hf_xlt.arguments import short
from hf_xlt.errors import InputError
from hf_xlt.evidence.vectors.entries import VectorFile, open_vectors
from hf_xlt.evidence.vectors.fasttext import is_fasttext, read_fasttext
from hf_xlt.files.text import first_numbers


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


logger = logging.getLogger(__name__)


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


def _read(file: VectorFile, words: set[str] | None, most: int | None = None) -> dict[str, np.ndarray]:
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
