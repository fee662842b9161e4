"""Sentences of CoNLL files: CoNLL-U treebanks, and words with a tag in the last column."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path

from hf_xlt.errors import InputError
from hf_xlt.files.text import text_lines

COLUMNS = 10
_ID, _FORM, _UPOS, _HEAD, _DEPREL = 0, 1, 3, 6, 7
_RANGE = re.compile(r"([1-9][0-9]{0,8})-([1-9][0-9]{0,8})")
_EMPTY_NODE = re.compile(r"([0-9]{1,9})\.[1-9][0-9]*")
_HEAD_NUMBER = re.compile(r"[0-9]{1,9}")

_DOCUMENT = "-DOCSTART-"


@dataclass(frozen=True)
class Sentence:
    """A sentence of a treebank, of `n` syntactic words."""

    line: int  # line it begins on, from 1
    words: tuple[str, ...]  # forms, `n` of them
    upos: tuple[str, ...]  # universal tag of each word; `_` where the file gives none
    heads: tuple[int, ...]  # head of each word, from 1, 0 for the single root; empty where the file gives none at all
    deprels: tuple[str, ...]  # relation of each word to its head, subtype included


def read_conllu(path: str | Path) -> list[Sentence]:
    """Sentences of a CoNLL-U file (https://universaldependencies.org/format.html), packed or not.

    Surface tokens of several words (`1-2`) and empty nodes (`8.1`) are checked and left out.

    Raises:
        InputError: If the file cannot be read or holds no sentence; with its number at a line that is not valid, and
            where heads make no tree with one root.
    """
    sentences: list[Sentence] = []
    block: list[str] = []
    for number, line in enumerate(chain(text_lines(path), [""]), start=1):
        if line:
            block.append(line)
        elif block:
            sentences.append(_Block(path, number - len(block), block).sentence())
            block = []
    if not sentences:
        raise InputError(f"{path} holds no sentence", expected="CoNLL-U", path=path)
    return sentences


@dataclass(frozen=True)
class _Block:
    """The lines of a sentence."""

    path: str | Path
    start: int
    lines: Sequence[str]

    def sentence(self) -> Sentence:
        rows: list[list[str]] = []
        numbers: list[int] = []
        covered = (0, 0, "")  # first and last word of the last surface token of several words, and its form
        for number, line in enumerate(self.lines, start=self.start):
            if line[0] == "#":
                continue
            cells = line.split("\t")
            if len(cells) != COLUMNS:
                raise self._error(number, f"{len(cells)} columns; expected {COLUMNS}, with tabs between")
            if not cells[_FORM].strip():
                raise self._error(number, "a word without form")
            if cells[_ID] == str(len(rows) + 1):
                rows.append(cells)
                numbers.append(number)
                continue
            token, empty = _RANGE.fullmatch(cells[_ID]), _EMPTY_NODE.fullmatch(cells[_ID])
            if token and covered[1] <= len(rows) == int(token[1]) - 1 < int(token[2]):
                covered = int(token[1]), int(token[2]), cells[_FORM]
            elif not (empty and int(empty[1]) == len(rows)):
                raise self._error(number, f"the id {cells[_ID]!r} is out of order; expected {len(rows) + 1}")
        if not rows:
            raise self._error(self.start, "a sentence without words")
        first, last, form = covered
        if last > len(rows):
            raise self._error(numbers[first - 1], f"the token {first}-{last} ({form!r}) ends after the sentence")
        forms, tags, heads, deprels = (tuple(cells[i] for cells in rows) for i in (_FORM, _UPOS, _HEAD, _DEPREL))
        return Sentence(self.start, forms, tags, self._heads(heads, numbers), deprels)

    def _heads(self, cells: Sequence[str], numbers: list[int]) -> tuple[int, ...]:
        if all(cell == "_" for cell in cells):
            return ()
        for number, cell in zip(numbers, cells, strict=True):
            if not _HEAD_NUMBER.fullmatch(cell):
                raise self._error(number, f"the head {cell!r} is no number")
            if int(cell) > len(cells):
                raise self._error(number, f"the head {cell} is outside the sentence, which has {len(cells)} words")
        heads = tuple(map(int, cells))
        if (word := _on_cycle(heads)) is not None:
            raise self._error(numbers[word - 1], f"word {word} depends on itself, by a cycle of heads; expected a tree")
        if heads.count(0) != 1:
            raise self._error(self.start, f"a sentence with {heads.count(0)} roots; expected one")
        return heads

    def _error(self, number: int, what: str) -> InputError:
        return InputError(f"{self.path}, line {number}: {what}. Is this CoNLL-U?", path=self.path, line=number)


def _on_cycle(heads: Sequence[int]) -> int | None:
    """A word that is its own ancestor, if there is one."""
    seen_from = [0] * (len(heads) + 1)
    seen_from[0] = -1  # every path may end at the root
    for start in range(1, len(heads) + 1):
        word = start
        while not seen_from[word]:
            seen_from[word] = start
            word = heads[word - 1]
        if seen_from[word] == start:
            return word
    return None


@dataclass(frozen=True)
class TaggedSentence:
    """A sentence whose words have tags."""

    words: tuple[str, ...]  # one or more
    tags: tuple[str, ...]  # one a word
    line: int  # line it begins on, from 1
    one_line: bool = False  # whether all of it is on that line, as in a row of a dataset

    def line_of(self, word: int) -> int:
        """The line of a word, which is counted from 0."""
        return self.line if self.one_line else self.line + word


def read_conll(path: str | Path) -> list[TaggedSentence]:
    """Sentences of a CoNLL file, columns separated by tabs or spaces; `-DOCSTART-` lines end a sentence."""
    sentences = []
    numbered = enumerate(text_lines(path), start=1)
    for within, group in groupby(numbered, lambda line: bool(line[1].strip()) and not line[1].startswith(_DOCUMENT)):
        if within:
            lines, words, tags = zip(*_cells(group, path), strict=True)
            sentences.append(TaggedSentence(words, tags, lines[0]))
    if not sentences:
        raise InputError(f"{path} holds no sentence", expected="a word and its tag on each line", path=path)
    return sentences


def _cells(lines: Iterator[tuple[int, str]], path: str | Path) -> Iterator[tuple[int, str, str]]:
    """Line number, word and tag of each line."""
    for number, line in lines:
        cells = line.split("\t") if "\t" in line else line.strip(" ").split(" ")
        word, tag = cells[0].strip(" "), cells[-1].strip(" ")
        if len(cells) < 2 or not word or not tag:
            problem = f"{path}, line {number}: {line!r} lacks a word or a tag"
            raise InputError(problem, expected="both, with a tab or space", path=path, line=number)
        yield number, word, tag
