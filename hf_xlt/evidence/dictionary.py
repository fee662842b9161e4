"""Bilingual dictionaries: read from the formats they come in, and counted token by token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_xlt.errors import InputError
from hf_xlt.evidence.counts import TokenCounts
from hf_xlt.evidence.token_ids import flat_token_ids, ranges, token_ids
from hf_xlt.files.text import first_numbers, text_lines

Flat = tuple[np.ndarray, np.ndarray]
"""The ids of many texts, one after the other, and the texts' numbers of ids; int64."""

_PAIRS_AT_A_TIME = 2**18


@dataclass(frozen=True)
class Dictionary:
    """Words and their translations.

    Attributes:
        entries: Source and target words, one or several a side; each entry once.
        skipped: Numbers of the lines, from 1, that were left out because they are no entry.

    Raises:
        InputError: If there is no entry, or one without a source or a target side.
    """

    entries: tuple[tuple[str, str], ...]
    skipped: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.entries:
            raise InputError("The dictionary is empty; expected at least one word and its translation.")
        if one_sided := [entry for entry in self.entries if not all(side.strip() for side in entry)]:
            raise InputError(f"The dictionary entry {one_sided[0]} is one-sided; expected a word and its translation.")

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def notice(self) -> str:
        """One line that counts and names what was left out; empty where nothing was."""
        if not self.skipped:
            return ""
        lines = "line that is no entry" if len(self.skipped) == 1 else "lines that are no entries"
        return f"{len(self.skipped)} {lines} left out of the dictionary: {first_numbers(self.skipped)}"


def read_dictionary(path: str | Path, source_column: int = 0) -> Dictionary:
    """Read a dictionary: an entry a line, a word in each of the first two columns.

    Columns are separated by a tab (words may then have spaces, as in Wiktionary's entries; further columns, such as the
    split of the MUSE dictionaries, are ignored), or, on lines without a tab, by a space (MUSE: exactly two words).

    Args:
        path: UTF-8, gzipped if its name ends in `.gz`.
        source_column: 0 if the words of the source language come first, 1 if they come second.

    Raises:
        InputError: If the file cannot be read, the column is neither, or no line has a word on both sides.
    """
    if source_column not in (0, 1):
        raise InputError(f"source_column is {source_column}; expected 0 or 1, one of the first two columns.")
    entries: dict[tuple[str, str], None] = {}
    skipped = []
    for number, line in enumerate(text_lines(path), start=1):
        cells = [cell.strip() for cell in line.split("\t")[:2]] if "\t" in line else line.split()
        if len(cells) == 2 and all(cells):
            entries[cells[source_column], cells[1 - source_column]] = None
        elif line.strip():
            skipped.append(number)
    if not entries:
        raise InputError(
            f"{path} holds no dictionary entry ({len(skipped)} lines without a word on both sides); expected a word, a "
            "tab and its translation on each line."
        )
    return Dictionary(tuple(entries), tuple(skipped))


def dictionary_counts(
    dictionary: Dictionary, source: PreTrainedTokenizerBase, target: PreTrainedTokenizerBase
) -> TokenCounts:
    """Count each entry once, shared evenly by all pairs of a token of its target and a token of its source side.

    So a target token that is a whole word gets the mean of its translation's tokens, and a piece of a word less. Where
    the target's tokenizer tells capitals or a leading space, an entry counts once in each way it can be written.

    Returns:
        Counts of shape `(V_t, V_s)`.

    Raises:
        InputError: If no entry has a known token on both sides.
    """
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
