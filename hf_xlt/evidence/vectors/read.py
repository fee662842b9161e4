"""Read the vectors of some words out of a file of many, one entry at a time."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import torch
from tqdm import tqdm

from hf_xlt.errors import InputError
from hf_xlt.evidence.vectors.fasttext import MAGIC, check_width, read_fasttext
from hf_xlt.evidence.vectors.vectors import Vectors

_LONGEST_WORD = 10_000


def read_vectors(path: str | Path, words: Collection[str], width: int | None = None) -> Vectors:
    """Read the vectors of the given words; no others are held in memory.

    Args:
        path: `.bin`: fastText's or word2vec's binary format, told apart by content. Anything else: fastText's and
            word2vec's text format (`.vec`), perhaps gzipped (`.gz`).
        words: The words wanted. Those the file lacks are left out, except that a fastText `.bin` makes them of their
            character n-grams; they come last.
        width: The width the vectors must have; None takes any.

    Raises:
        InputError: If the file cannot be read, is cut short or of another format, has vectors of another width, of
            NaN or infinity, or has none of the words.
    """
    path = Path(path).expanduser()
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with cast(BinaryIO, opener(path, "rb")) as file:
            found = dict(_entries(file, path, set(words), width))
    except (OSError, EOFError, struct.error) as error:
        raise InputError(f"Vectors {path} cannot be read ({error}). Check that the file is whole.") from error
    if not found:
        raise InputError(
            f"Vectors {path} have none of the {len(words)} words; expected some: check how they are spelled."
        )
    return Vectors(tuple(found), torch.from_numpy(np.stack(list(found.values()))))


def _entries(file: BinaryIO, path: Path, words: set[str], width: int | None) -> Iterable[tuple[str, np.ndarray]]:
    if path.name.removesuffix(".gz").endswith(".bin"):
        if file.read(4) == MAGIC:
            return read_fasttext(file, path, words, width)
        file.seek(0)
        return _word2vec(file, path, words, *_header(file, path, width))
    return _text(file, path, words, *_header(file, path, width))


def _header(file: BinaryIO, path: Path, width: int | None) -> tuple[int, int]:
    line = file.readline(_LONGEST_WORD).split()
    if len(line) != 2 or not all(field.isdigit() for field in line):
        raise InputError(
            f"{path} does not begin with the number and the width of its vectors; expected a .vec or .bin."
        )
    count, found = (int(field) for field in line)
    check_width(path, found, width)
    return count, found


def _text(file: BinaryIO, path: Path, words: set[str], count: int, width: int) -> Iterator[tuple[str, np.ndarray]]:
    left = set(words)
    for number, line in enumerate(tqdm(file, desc=path.name, unit="word", total=count, disable=None), start=2):
        word, _, numbers = line.rstrip().partition(b" ")
        decoded = word.decode("utf-8", "replace")
        if decoded not in left:
            continue
        left.remove(decoded)
        fields = numbers.split()
        if len(fields) != width:
            raise InputError(
                f"{path} has {len(fields)} numbers at line {number}; expected {width}, as its first line says."
            )
        try:
            yield decoded, np.array(fields, dtype=np.float32)
        except ValueError as error:
            raise InputError(f"{path} has a field that is no number at line {number} ({error}).") from error


def _word2vec(file: BinaryIO, path: Path, words: set[str], count: int, width: int) -> Iterator[tuple[str, np.ndarray]]:
    left = set(words)
    for entry in tqdm(range(count), desc=path.name, unit="word", disable=None):
        word = bytearray()
        while (character := file.read(1)) not in (b" ", b"") and len(word) < _LONGEST_WORD:
            word += character
        row = file.read(4 * width)
        if len(row) < 4 * width:
            raise InputError(f"{path} breaks off at entry {entry} of {count}; expected word2vec's binary format.")
        decoded = word.decode("utf-8", "replace").lstrip("\n")  # some writers end an entry with a line feed
        if decoded in left:
            left.remove(decoded)
            yield decoded, np.frombuffer(row, dtype="<f4")
