"""Counts of the word links of parallel text: which target token is a translation of which source token."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_xlt.errors import InputError
from hf_xlt.evidence.counts import TokenCounts
from hf_xlt.evidence.direction import check_direction
from hf_xlt.evidence.token_ids import flat_token_ids
from hf_xlt.files.text import first_numbers

logger = logging.getLogger(__name__)

TokenPair = tuple[np.ndarray, np.ndarray]

LONGEST = 512
"""Tokens a side of a pair that is aligned. One pair of so many takes about a second, one of 100 some hundredths."""

_SIDES = ("source", "target")


def token_pairs(
    texts: Sequence[tuple[str, str]],
    source: PreTrainedTokenizerBase,
    target: PreTrainedTokenizerBase,
    lines: Sequence[int] = (),
) -> list[TokenPair]:
    """The ids of sentence pairs, each side by its own tokenizer, without special tokens.

    Pairs with an empty side go. So do those with more than `LONGEST` tokens on a side, which are documents rather than
    sentences: to align one takes as long as thousands of sentences, and tells less. They are counted and named.

    Args:
        texts: Source and target text of each pair: sentences, or the entries of a dictionary.
        source: Tokenizer of the source side.
        target: Tokenizer of the target side.
        lines: The line of each pair in its file; without them pairs are named by their place, from 1.

    Returns:
        int64 ids of the source and of the target sentence.

    Raises:
        InputError: If all pairs that have two sides are longer, or source and target are exchanged.
    """
    if not texts:
        return []
    check_direction(texts, source, target)
    tokenizers = source, target
    sides = [
        np.split(ids, lengths.cumsum()[:-1])
        for ids, lengths in map(flat_token_ids, tokenizers, zip(*texts, strict=True))
    ]
    pairs, long = [], []
    for place, (first, second) in enumerate(zip(*sides, strict=True)):
        if max(len(first), len(second)) > LONGEST:
            long.append(lines[place] if lines else place + 1)
        elif len(first) and len(second):
            pairs.append((first, second))
    if long:
        told = f"{len(long)} of {len(texts)} pairs have more than {LONGEST} tokens on a side"
        which = f"{'lines' if lines else 'pairs'} {first_numbers(long)}"
        if not pairs:
            raise InputError(f"{told} ({which})", expected="pairs of sentences", hint="Split them into sentences.")
        logger.warning(f"{told} and are left out; split them into sentences to use them: {which}")
    return pairs


def link_counts(pairs: Sequence[TokenPair], links: Sequence[np.ndarray], shape: tuple[int, int]) -> TokenCounts:
    """Count the links of a word alignment (RAMEN's evidence).

    Args:
        pairs: Source and target ids of each sentence pair.
        links: For each pair int `(k, 2)`, linked source and target positions.
        shape: Target ids and source ids that the table has room for.

    Raises:
        InputError: If the numbers of pairs and links differ, a link leaves its pair, or an id is out of range.
    """
    if len(pairs) != len(links):
        raise InputError(f"There are {len(pairs)} pairs and {len(links)} sets of links; expected one set a pair.")
    if not len(pairs):
        return TokenCounts.empty(shape)
    number = np.repeat(np.arange(len(links)), [len(of_pair) for of_pair in links])
    positions = np.concatenate([np.asarray(of_pair, np.int64).reshape(-1, 2) for of_pair in links])
    source_ids, target_ids = (
        _at(number, positions[:, side], [pair[side] for pair in pairs], name) for side, name in enumerate(_SIDES)
    )
    return TokenCounts.of(target_ids, source_ids, np.ones(len(target_ids)), shape)


def _at(number: np.ndarray, positions: np.ndarray, sentences: Sequence[np.ndarray], side: str) -> np.ndarray:
    """The ids at positions of the sentences with these numbers."""
    lengths = np.array([len(sentence) for sentence in sentences])
    outside = np.flatnonzero((positions < 0) | (positions >= lengths[number]))
    if len(outside):
        first = outside[0]
        raise InputError(
            f"Pair {number[first]} has a link to {side} token {positions[first]}, but {lengths[number[first]]} {side} "
            "tokens. Align the tokens that the pairs are made of."
        )
    starts = lengths.cumsum() - lengths
    return np.concatenate(sentences)[starts[number] + positions]
