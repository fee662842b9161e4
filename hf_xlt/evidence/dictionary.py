"""Bilingual dictionaries: read from the formats they come in, and counted token by token."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_xlt.errors import InputError
from hf_xlt.evidence.columns import find_columns
from hf_xlt.evidence.counts import TokenCounts
from hf_xlt.evidence.direction import check_direction
from hf_xlt.evidence.skipped import check_skipped
from hf_xlt.evidence.token_ids import flat_token_ids, ranges, token_ids
from hf_xlt.files.place import Place, several
from hf_xlt.files.table import SEEN, Table
from hf_xlt.files.text import first_numbers

_SEPARATORS = ("\t", "|||", ",", ";")
_SPACED = re.compile(
    "(?:{number}{space})?(?!#)({word}){space}({word})(?:{space}{number})?".format(
        number=r"[+\-]?[0-9.]*[0-9](?:[eE][+\-]?[0-9]+)?", space="[ \u3000]+", word="[^ \u3000]+"
    )
)
"""Two words with spaces between, perhaps with a number before or behind them; the first of a comment is none."""

logger = logging.getLogger(__name__)


Flat = tuple[np.ndarray, np.ndarray]
"""The ids of many texts, one after the other, and the texts' numbers of ids; int64."""

_PAIRS_AT_A_TIME = 2**18


@dataclass(frozen=True)
class Dictionary:
    """Words and their translations.

    Attributes:
        entries: Source and target words, one or several a side; each entry once.
        skipped: Numbers of the lines, from 1, that were left out because they are no entry.
        reading: How the file was read, as one line, where that is not plain.

    Raises:
        InputError: If there is no entry, or one without a source or a target side.
    """

    entries: tuple[tuple[str, str], ...]
    skipped: tuple[int, ...] = ()
    reading: str = ""

    def __post_init__(self) -> None:
        if not self.entries:
            raise InputError("The dictionary is empty; expected at least one word and its translation.")
        if one_sided := [entry for entry in self.entries if not all(side.strip() for side in entry)]:
            raise InputError(f"The dictionary entry {one_sided[0]} is one-sided; expected a word and its translation.")

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def notice(self) -> str:
        """How the file was read and what was left out of it, as one line; empty where all is plain."""
        told = [self.reading] * bool(self.reading)
        if self.skipped:
            lines = "line that is no entry" if len(self.skipped) == 1 else "lines that are no entries"
            told.append(f"{len(self.skipped)} {lines} left out of the dictionary: {first_numbers(self.skipped)}")
        return "; ".join(told)


def read_dictionary(path: str | Path, source_column: int = 0) -> Dictionary:
    """Read a dictionary: an entry a line, a word in each of two columns.

    Columns are separated by a tab, `|||`, a comma or a semicolon (words may then have spaces, as in Wiktionary's
    entries; further columns, such as the split of the MUSE dictionaries, are ignored), or, on lines without such, by a
    space (MUSE: exactly two words). Columns of numbers, and a first row of names, are left out.

    Args:
        path: A table, as `Table.of` takes it, or `FILE:source,target`, as a `Place` is written, with the names of its
            columns.
        source_column: 0 if the words of the source language come first, 1 if they come second.

    Raises:
        InputError: If the file cannot be read, the column is neither, no line has a word on both sides, or more lines
            have to be left out than can be read.
    """
    if source_column not in (0, 1):
        raise InputError(
            f"source_column is {source_column}; expected 0 or 1, one of the first two columns.", value=source_column
        )
    rows, reading = _rows(path)
    entries: dict[tuple[str, str], None] = {}
    skipped = []
    for number, pair in rows:
        if all(pair):
            entries[pair[source_column], pair[1 - source_column]] = None
        else:
            skipped.append(number)
    if not entries:
        raise _no_entry(path, len(skipped))
    check_skipped(path, skipped, len(rows) - len(skipped), "have no word on both sides")
    return Dictionary(tuple(entries), tuple(skipped), reading)


def _rows(path: str | Path) -> tuple[list[tuple[int, tuple[str, str]]], str]:
    """Line number and both words of each line that is not blank, empty where one is missing; and what is to be told."""
    place = Place.at(path)
    if place.columns:
        return [(number, (first.strip(), second.strip())) for number, (first, second) in place.rows(2)], ""
    table = Table.of(path, _SEPARATORS)
    numbered = ((number, _cells(table, cells)) for number, cells in table.rows())
    rows = [(number, cells) for number, cells in numbered if any(cells)]
    if all(len(cells) < 2 for _, cells in rows):
        raise _no_entry(path, len(rows))
    if table.keys and len(rows) == 1:
        raise InputError(
            f"{path} is one object; expected one for each entry, on a line of its own, or a table with tabs.", path=path
        )
    found = find_columns([row for row in rows[:SEEN] if len(row[1]) > 1], path, table.keys, alike_from=SEEN)
    return [
        (number, (cells[found.source], cells[found.target]) if len(cells) > found.target else ("", ""))
        for number, cells in rows[found.headed :]
    ], found.notice


def _cells(table: Table, cells: Sequence[str]) -> list[str]:
    """The cells of a line, stripped; its two words, if it is no comment and lacks the table's separator."""
    stripped = [cell.strip() for cell in cells]
    words = _SPACED.fullmatch(stripped[0]) if len(stripped) == 1 else None
    return stripped if words is None else [*words.groups()]


def _no_entry(path: str | Path, skipped: int) -> InputError:
    return InputError(
        f"{path} holds no dictionary entry ({skipped} lines without a word on both sides); expected a word, a tab and "
        "its translation on each line.",
        path=path,
    )


def read_dictionaries(paths: str | Path | Sequence[str | Path]) -> Dictionary:
    """Read the entries of one or several files, each as `read_dictionary` does; each entry once.

    Lines of several that are left out are told of at once.

    Raises:
        InputError: If none is named, one twice, or one cannot be read.
    """
    read = {path: read_dictionary(Path(path).expanduser()) for path in several(paths, "dictionary")}
    if len(read) == 1:
        return next(iter(read.values()))
    for path, dictionary in read.items():
        if dictionary.notice:
            logger.warning(f"{path}: {dictionary.notice}")
    return Dictionary(tuple(dict.fromkeys(chain.from_iterable(dictionary.entries for dictionary in read.values()))))


def dictionary_counts(
    dictionary: Dictionary, source: PreTrainedTokenizerBase, target: PreTrainedTokenizerBase
) -> TokenCounts:
    """Count each entry once, shared evenly by all pairs of a token of its target and a token of its source side.

    So a target token that is a whole word gets the mean of its translation's tokens, and a piece of a word less. Where
    the target's tokenizer tells capitals or a leading space, an entry counts once in each way it can be written.

    Returns:
        Counts of shape `(V_t, V_s)`.

    Raises:
        InputError: If no entry has a known token on both sides, or source and target are exchanged.
    """
    check_direction(dictionary.entries, source, target)
    written = _written(dictionary.entries, source, target)
    sources, targets = (
        _known_ids(tokenizer, [entry[side] for entry in written]) for side, tokenizer in enumerate((source, target))
    )
    shape = _size(target), _size(source)
    counts = _spread(sources, targets, shape)
    if not len(counts):
        raise InputError(
            f"None of the {len(dictionary)} dictionary entries is spelled in tokens of both tokenizers; check that its "
            "columns are source and target, in this order."
        )
    return counts


def _written(
    entries: Sequence[tuple[str, str]], source: PreTrainedTokenizerBase, target: PreTrainedTokenizerBase
) -> list[tuple[str, str]]:
    """The entries in each way that the target's tokenizer tells apart, each once."""
    cases: list[Callable[[str], str]] = [str, str.lower, _capitalised] if _tells(target, "a", "A") else [str]
    spaces = ["", " "] if _tells(target, "a", " a") else [" " if _tells(source, "a", " a") else ""]
    ways = ((space + case(s), space + case(t)) for s, t in entries for case in cases for space in spaces)
    return list(dict.fromkeys(ways))


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _tells(tokenizer: PreTrainedTokenizerBase, first: str, second: str) -> bool:
    return token_ids(tokenizer, [first]) != token_ids(tokenizer, [second])


def _known_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> Flat:
    ids, lengths = flat_token_ids(tokenizer, texts)
    known = ids != (-1 if tokenizer.unk_token_id is None else tokenizer.unk_token_id)
    ends = np.concatenate([np.zeros(1, np.int64), known.cumsum()])[lengths.cumsum()]
    return ids[known], np.diff(ends, prepend=0)


def _size(tokenizer: PreTrainedTokenizerBase) -> int:
    return max(tokenizer.get_vocab().values()) + 1


def _spread(sources: Flat, targets: Flat, shape: tuple[int, int]) -> TokenCounts:
    """One count an entry, shared evenly by the pairs of its tokens."""
    (source_ids, of_source), (target_ids, of_target) = sources, targets
    pairs = of_source * of_target
    after_source, after_target, after = of_source.cumsum(), of_target.cumsum(), pairs.cumsum()
    tables = []
    for cut in np.split(
        np.arange(len(pairs)), np.searchsorted(after, np.arange(_PAIRS_AT_A_TIME, pairs.sum(), _PAIRS_AT_A_TIME))
    ):
        place, entry = ranges(np.zeros(len(cut), np.int64), pairs[cut])
        entry = cut[entry]
        target_place, source_place = np.divmod(place, of_source[entry])
        tables.append(
            TokenCounts.of(
                target_ids[(after_target - of_target)[entry] + target_place],
                source_ids[(after_source - of_source)[entry] + source_place],
                1 / pairs[entry],
                shape,
            )
        )
    return TokenCounts.total(tables, shape)
