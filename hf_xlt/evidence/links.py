"""Counts of the word links of parallel text: which target token is a translation of which source token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_xlt.errors import InputError
from hf_xlt.evidence.counts import TokenCounts
from hf_xlt.evidence.token_ids import flat_token_ids

TokenPair = tuple[np.ndarray, np.ndarray]

_SIDES = ("source", "target")


def token_pairs(
    texts: Sequence[tuple[str, str]], source: PreTrainedTokenizerBase, target: PreTrainedTokenizerBase
) -> list[TokenPair]:
    """The ids of sentence pairs, each side by its own tokenizer, without special tokens; pairs with an empty side go.

    Args:
        texts: Source and target text of each pair: sentences, or the entries of a dictionary.
        source: Tokenizer of the source side.
        target: Tokenizer of the target side.

    Returns:
        int64 ids of the source and of the target sentence.
    """
    if not texts:
        return []
    tokenizers = source, target
    sides = [
        np.split(ids, lengths.cumsum()[:-1])
        for ids, lengths in map(flat_token_ids, tokenizers, zip(*texts, strict=True))
    ]
    return [pair for pair in zip(*sides, strict=True) if len(pair[0]) and len(pair[1])]


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
