"""fastText's binary model: the vectors of some words, made of their own row and those of their character n-grams."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hf_xlt.errors import InputError
from hf_xlt.files.text import opened

MAGIC = struct.pack("<i", 793712314)

_VERSION = 12
_SETTINGS = struct.Struct("<12id")  # dim, ws, epoch, minCount, neg, wordNgrams, loss, model, bucket, minn, maxn, …
_SIZES = struct.Struct("<3i2q")  # entries, words, labels; tokens, pruned n-grams (−1: none)
_SHAPE = struct.Struct("<2q")


@dataclass(frozen=True)
class _Settings:
    width: int
    buckets: int
    shortest: int
    longest: int

    def ngrams(self, word: str) -> list[int]:
        """The bucket of each character n-gram of `<word>`, as fastText hashes it; single `<` and `>` do not count."""
        text = f"<{word}>"
        spans = (
            text[start : start + length]
            for start in range(len(text))
            for length in range(self.shortest, min(self.longest, len(text) - start) + 1)
            if length > 1 or 0 < start < len(text) - 1
        )
        return [_hash(span.encode()) % self.buckets for span in spans] if self.buckets else []


def is_fasttext(path: Path) -> bool:
    """Whether a file begins as a fastText model."""
    with opened(path) as file:
        if file.read(len(MAGIC)) != MAGIC:
            return False
    with path.open("rb") as plain:
        if plain.read(len(MAGIC)) != MAGIC:
            raise InputError(
                f"{path} is a packed fastText model", expected="it unpacked", hint="Unpack it first.", path=path
            )
    return True


def read_fasttext(path: Path, words: set[str], width: int | None) -> dict[str, np.ndarray]:
    """The words with their vectors, those of the model's dictionary first."""
    with _model(path) as (file, settings):
        check_width(path, settings.width, width)
        known, rows = _dictionary(file, path, words)
        matrix = _matrix(file, path, (rows + settings.buckets, settings.width))
    unknown = sorted(words - known.keys()) if settings.longest else []
    found = {}
    for word in (*known, *unknown):
        parts = [known[word]] if word in known else []
        parts += [rows + bucket for bucket in settings.ngrams(word)] if word != "</s>" else []
        if parts:
            found[word] = matrix[parts].mean(axis=0, dtype=np.float32)
    return found


def known_words(path: Path, words: set[str]) -> set[str]:
    """Those of the words that the dictionary of a fastText model has."""
    with _model(path) as (file, _):
        return set(_dictionary(file, path, words)[0])


def check_width(path: Path, found: int, wanted: int | None) -> None:
    """Raise InputError unless the width is the one that was asked for."""
    if wanted is not None and found != wanted:
        hint = "Choose vectors of that width."
        raise InputError(
            f"The vectors of {path} are {found} wide", value=found, expected=str(wanted), hint=hint, path=path
        )


@contextmanager
def _model(path: Path) -> Iterator[tuple[BinaryIO, _Settings]]:
    """A model, read from behind its settings."""
    try:
        with path.open("rb") as file:
            file.seek(len(MAGIC))
            yield file, _settings(file, path)
    except (OSError, struct.error) as error:
        raise InputError(
            f"Vectors {path} cannot be read ({error})", hint="Check that the file is whole.", path=path
        ) from error


def _settings(file: BinaryIO, path: Path) -> _Settings:
    (version,) = struct.unpack("<i", file.read(4))
    fields = _SETTINGS.unpack(file.read(_SETTINGS.size))
    if version != _VERSION:
        told = f"{path} is a fastText model of version {version}"
        raise InputError(told, expected=str(_VERSION), hint="Export it as .vec.", path=path)
    settings = _Settings(fields[0], *fields[8:11])
    lengths_fit = not settings.longest or 0 < settings.shortest <= settings.longest
    if settings.width < 1 or settings.buckets < 0 or not lengths_fit:
        raise _senseless(path, "its settings")
    return settings


def _dictionary(file: BinaryIO, path: Path, words: set[str]) -> tuple[dict[str, int], int]:
    """The row of each wanted word in the dictionary, in its order, and how many words that has."""
    entries, count, _, _, pruned = _SIZES.unpack(file.read(_SIZES.size))
    if not 0 <= count <= entries:
        raise _senseless(path, "the sizes of its dictionary")
    known: dict[str, int] = {}
    for row in range(entries):
        word = bytearray()
        while (character := file.read(1)) != b"\0":
            if not character:
                raise _damaged(path, "breaks off in its dictionary")
            word += character
        file.seek(9, 1)  # int64 count, int8 type
        decoded = word.decode("utf-8", "replace")
        if row < count and decoded in words:
            known[decoded] = row
    if pruned > 0 or file.read(1) != b"\0":
        raise InputError(f"{path} is a quantised fastText model", expected="a full one (.bin) or its .vec", path=path)
    return known, count


def _matrix(file: BinaryIO, path: Path, least: tuple[int, int]) -> np.ndarray:
    """The input matrix, read where it is on the disk."""
    rows, width = _SHAPE.unpack(file.read(_SHAPE.size))
    start = file.tell()
    if width != least[1] or rows < least[0]:
        raise _senseless(path, "the shape of its matrix")
    if path.stat().st_size < start + 4 * rows * width:
        raise _damaged(path, "breaks off before its vectors end")
    return np.memmap(path, dtype="<f4", mode="r", offset=start, shape=(rows, width))


def _senseless(path: Path, part: str) -> InputError:
    return _damaged(path, f"is no fastText model that can be read: {part} make no sense")


def _damaged(path: Path, fault: str) -> InputError:
    return InputError(f"{path} {fault}", hint="Check that the download is whole.", path=path)


def _hash(text: bytes) -> int:
    """FNV-1a, 32 bits, with bytes taken as signed, as fastText does."""
    value = 2166136261
    for byte in text:
        value = ((value ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619) & 0xFFFFFFFF
    return value
