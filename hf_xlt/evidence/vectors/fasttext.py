"""fastText's binary model: the vectors of some words, made of their own row and those of their character n-grams."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hf_xlt.errors import InputError

MAGIC = struct.pack("<i", 793712314)

_VERSION = 12
_SETTINGS = struct.Struct("<12id")  # dim, ws, epoch, minCount, neg, wordNgrams, loss, model, bucket, minn, maxn, …
_SIZES = struct.Struct("<3i2q")  # entries, words, labels; tokens, pruned n-grams (−1: none)
_SHAPE = struct.Struct("<2q")


@dataclass(frozen=True)
class _Ngrams:
    shortest: int
    longest: int
    buckets: int

    def of(self, word: str) -> list[int]:
        """The bucket of each character n-gram of `<word>`, as fastText hashes it; single `<` and `>` do not count."""
        text = f"<{word}>"
        spans = (
            text[start : start + length]
            for start in range(len(text))
            for length in range(self.shortest, min(self.longest, len(text) - start) + 1)
            if length > 1 or 0 < start < len(text) - 1
        )
        return [_hash(span.encode()) % self.buckets for span in spans] if self.buckets else []


def read_fasttext(file: BinaryIO, path: Path, words: set[str], width: int | None) -> Iterator[tuple[str, np.ndarray]]:
    """The words with their vectors, those of the model's dictionary first; the file stands behind the magic number.

    Raises:
        InputError: If the model is quantised, of an old version, or its width is not the one wanted.
    """
    (version,) = struct.unpack("<i", file.read(4))
    settings = _SETTINGS.unpack(file.read(_SETTINGS.size))
    if version != _VERSION:
        raise InputError(f"{path} is a fastText model of version {version}; expected {_VERSION}: export it as .vec.")
    check_width(path, settings[0], width)
    ngrams = _Ngrams(settings[9], settings[10], settings[8])
    known, rows = _dictionary(file, path, words)
    matrix = _matrix(file, path)
    unknown = sorted(words - known.keys()) if ngrams.longest else []
    for word in (*known, *unknown):
        parts = [known[word]] if word in known else []
        parts += [rows + bucket for bucket in ngrams.of(word)] if word != "</s>" else []
        if parts:
            yield word, matrix[parts].mean(axis=0, dtype=np.float32)


def known_words(path: Path, words: set[str]) -> set[str]:
    """Those of the words that the dictionary of a fastText model has."""
    with path.open("rb") as file:
        file.seek(len(MAGIC) + 4 + _SETTINGS.size)
        return set(_dictionary(file, path, words)[0])


def check_width(path: Path, found: int, wanted: int | None) -> None:
    """Raise InputError unless the width is the one that was asked for."""
    if wanted is not None and found != wanted:
        raise InputError(f"The vectors of {path} are {found} wide; expected {wanted}: choose vectors of that width.")


def _dictionary(file: BinaryIO, path: Path, words: set[str]) -> tuple[dict[str, int], int]:
    """The row of each wanted word in the dictionary, in its order, and how many words that has."""
    entries, count, _, _, pruned = _SIZES.unpack(file.read(_SIZES.size))
    known: dict[str, int] = {}
    for row in range(entries):
        word = bytearray()
        while (character := file.read(1)) != b"\0":
            if not character:
                raise InputError(f"{path} breaks off in its dictionary; check that the download is whole.")
            word += character
        file.seek(9, 1)  # int64 count, int8 type
        decoded = word.decode("utf-8", "replace")
        if row < count and decoded in words:
            known[decoded] = row
    if pruned > 0 or file.read(1) != b"\0":
        raise InputError(f"{path} is a quantised fastText model; expected a full one (.bin) or its .vec.")
    return known, count


def _matrix(file: BinaryIO, path: Path) -> np.ndarray:
    """The input matrix, read where it is on the disk."""
    shape = _SHAPE.unpack(file.read(_SHAPE.size))
    start = file.tell()
    if path.stat().st_size < start + 4 * shape[0] * shape[1]:
        raise InputError(f"{path} breaks off before its vectors end; check that the download is whole.")
    return np.memmap(path, dtype="<f4", mode="r", offset=start, shape=shape)


def _hash(text: bytes) -> int:
    """FNV-1a, 32 bits, with bytes taken as signed, as fastText does."""
    value = 2166136261
    for byte in text:
        value = ((value ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619) & 0xFFFFFFFF
    return value
