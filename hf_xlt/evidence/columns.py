"""Which columns of a table are texts that translate each other, found by looking at its first rows."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hf_xlt.errors import InputError

Rows = Sequence[tuple[int, Sequence[str]]]

_MOST = 0.95  # share of a column's cells that make it one of numbers: one cell may be a name, or missing
_MANY = 10  # so many equal cells are no accident
_REPEATED = 50  # a column of words that come so often on average is one of labels

_EXPECTED = "two columns of texts that translate each other"

_NUMBER = re.compile(r"[+\-−]?(?=[\d.,:%/#_\-–e+]*\d)[\d.,:%/#_\-–]*(e[+\-]?\d+)?%?", re.IGNORECASE)
_ID = re.compile(r"(?=\S*\d)[\w.\-:/#]+|[a-z]+://\S+", re.IGNORECASE)
_LANGUAGE = re.compile(r"[a-z]{2}|[a-z]{2,3}([_-][A-Za-z0-9]{2,8})+")
_NAME = re.compile(r"[a-z][a-z0-9_-]*")  # rows of sentences hardly ever have such a word alone in a cell
_NAMES = {
    "id", "line", "nr", "number", "score", "source", "sentence", "sentence1", "sentence2", "sentence_1", "sentence_2",
    "source_text", "source_sentence", "src", "target", "target_text", "target_sentence", "text", "text_1", "text_2",
    "text1", "text2", "tgt", "translation", "trg", "word", "words", "meaning",
}  # fmt: skip


@dataclass(frozen=True)
class Columns:
    """Where the source and the target texts of a table are."""

    source: int  # position of the source column, from 0
    target: int  # position of the target column
    width: int  # how many cells most rows have
    names: tuple[str, ...] = ()  # the columns' names, if the table has any
    headed: bool = False  # whether the names are the first row
    left_out: tuple[str, ...] = ()  # what the columns hold that are neither and stand before the target's

    @property
    def notice(self) -> str:
        """What is not plain from two columns of texts, as one line; empty where all is."""
        if not (self.names or self.left_out):
            return ""
        source, target = (
            f"column {place + 1}" + (f" ({self.names[place]!r})" if self.names else "")
            for place in (self.source, self.target)
        )
        return "; ".join([f"{source} is read as the source, {target} as the target", *self.left_out])


def find_columns(rows: Rows, path: str | Path, names: Sequence[str] = (), alike_from: int = 2) -> Columns:
    """The two columns that hold texts: of more than two the first two, unless the columns have names.

    A column of numbers is none. One of ids, of labels, or with the same word in each row, is left out where two others
    remain.
    """
    counts = Counter(len(cells) for _, cells in rows)
    width = min(width for width, count in counts.items() if count == max(counts.values()))
    header = () if names else _header([cells for _, cells in rows], width)
    body = [cells for _, cells in rows[bool(header) :]]
    columns = [[cells[place].strip() for cells in body if len(cells) > place] for place in range(width)]
    kinds = [_kind(column, alike_from) for column in columns]
    texts = [place for place, kind in enumerate(kinds) if not kind]
    if len(texts) < 2:
        texts = [place for place, kind in enumerate(kinds) if kind not in ("numbers", "nothing")]
    names = header or tuple(names)
    if len(texts) < 2 or (names and len(texts) > 2):
        raise _not_two(path, rows[0][0], kinds, [names[place] for place in texts] if names else [])
    source, target = texts[:2]
    for place, other in ((source, target), (target, source)):
        cells = columns[place]
        if len(cells) >= _MANY and len(set(cells)) == 1 and len(set(columns[other])) > 1:
            everywhere = f"{cells[0][:40]!r} in column {place + 1} of each of its first {len(cells)} rows"
            told = f"{path} has {everywhere}, so that is no text with its translation"
            hint = "Name them as FILE:source,target, with a header row."
            raise InputError(told, expected=_EXPECTED, hint=hint, path=path)
    left_out = tuple(f"column {place + 1} holds {kinds[place]}" for place in range(target) if place not in texts)
    return Columns(source, target, width, names, bool(header), left_out)


def _kind(cells: Sequence[str], alike_from: int) -> str:
    """What a column holds other than texts; empty where it is texts."""
    filled = [cell for cell in cells if cell]
    if not filled:
        return "nothing"
    if _share(filled, _NUMBER) >= _MOST:
        return "numbers"
    if _share(filled, _ID) >= _MOST:
        return "ids"
    different = set(filled)
    if any(len(cell.split()) > 1 for cell in different):
        return ""
    if len(different) == 1 and len(filled) >= alike_from:
        return f"{filled[0]!r} in each row"
    return "labels" if len(filled) >= _REPEATED * len(different) else ""


def _share(cells: Sequence[str], pattern: re.Pattern[str]) -> float:
    return sum(pattern.fullmatch(cell) is not None for cell in cells) / len(cells)


def _header(rows: Sequence[Sequence[str]], width: int) -> tuple[str, ...]:
    """The first row, if its cells can only be names of columns."""
    names, body = tuple(cell.strip() for cell in rows[0]), rows[1:]
    if len(names) != width or width < 2 or not all(names[1:]) or len({name.casefold() for name in names}) < width:
        return ()
    if all(name.casefold() in _NAMES or _LANGUAGE.fullmatch(name) for name in names[names[0] == "" :]):
        return names
    columns = [[row[place].strip() for row in body if len(row) > place] for place in range(width)]
    numbers = [name for name, column in zip(names, columns, strict=True) if _kind(column, len(body)) == "numbers"]
    if numbers and not any(map(_NUMBER.fullmatch, numbers)):
        return names
    if any(name in column or not _NAME.fullmatch(name) for name, column in zip(names, columns, strict=True)):
        return ()
    others = sum(len(body) > 1 and _share(column, _NAME) <= 1 - _MOST for column in columns if column)
    return names if others > 1 else ()


def _not_two(path: str | Path, line: int, kinds: Sequence[str], names: Sequence[str]) -> InputError:
    if len(names) > 2:
        seen = f"{len(names)} columns of texts ({', '.join(names)})"
    elif len(kinds) == 1:
        seen = f"one column only from line {line} on"
    else:
        held = ", ".join(f"column {place}: {kind or 'texts'}" for place, kind in enumerate(kinds, start=1))
        seen = f"no two columns of texts ({held})"
    expected = f"{_EXPECTED}, separated by tabs or |||, as .csv, or an object a line as .jsonl"
    hint = "Change the separator, or name two columns as FILE:source,target, with a header row."
    return InputError(f"{path} has {seen}", expected=expected, hint=hint, path=path, line=line)
