"""Read CoNLL files: one word a line, its tag in the last column, a blank line between sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from hf_xlt.errors import InputError
from hf_xlt.files.text import text_lines

_DOCUMENT = "-DOCSTART-"


@dataclass(frozen=True)
class TaggedSentence:
    """A sentence whose words have tags.

    Args:
        words: One or more.
        tags: One a word.
        line: Line the sentence begins on, from 1.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    line: int


def read_conll(path: str | Path) -> list[TaggedSentence]:
    """Sentences of a CoNLL file, columns separated by tabs or spaces; `-DOCSTART-` lines end a sentence.

    Args:
        path: UTF-8, packed or not.

    Raises:
        InputError: If the file cannot be read or holds no sentence, or at the first line without a word and a tag.
    """
    sentences = []
    numbered = enumerate(text_lines(path), start=1)
    for within, group in groupby(numbered, key=lambda line: _of_a_sentence(line[1])):
        if within:
            lines, words, tags = zip(*_cells(group, path), strict=True)
            sentences.append(TaggedSentence(words, tags, lines[0]))
    if not sentences:
        raise InputError(f"{path} holds no sentence; expected a word and its tag on each line.", path=path)
    return sentences


def _of_a_sentence(line: str) -> bool:
    return bool(line.strip()) and not line.startswith(_DOCUMENT)


def _cells(lines: Iterator[tuple[int, str]], path: str | Path) -> Iterator[tuple[int, str, str]]:
    """Line number, word and tag of each line."""
    for number, line in lines:
        cells = line.split("\t") if "\t" in line else line.strip(" ").split(" ")
        word, tag = cells[0].strip(" "), cells[-1].strip(" ")
        if len(cells) < 2 or not word or not tag:
            raise InputError(
                f"{path}, line {number}: {line!r} lacks a word or a tag; expected both, with a tab or space.",
                path=path,
                line=number,
            )
        yield number, word, tag
