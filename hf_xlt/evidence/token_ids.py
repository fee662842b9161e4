"""Texts as the ids of their tokens, without special tokens around them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

_TEXTS_AT_A_TIME = 2**13  # a tokenizer keeps far more of a text than its ids until the last one is done


def token_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text."""
    encoded = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
    ids: list[list[int]] = encoded["input_ids"]
    return ids


def flat_token_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The ids of many texts as `flat` gives them; those of equal texts are looked up once."""
    numbers: dict[str, int] = {}
    which = np.fromiter((numbers.setdefault(text, len(numbers)) for text in texts), np.int64, len(texts))
    distinct = list(numbers)
    starts = range(0, len(distinct), _TEXTS_AT_A_TIME)
    parts = (flat(token_ids(tokenizer, distinct[start : start + _TEXTS_AT_A_TIME])) for start in starts)
    ids, lengths = map(np.concatenate, zip(flat(()), *parts, strict=True))
    after = lengths.cumsum()
    places, _ = ranges((after - lengths)[which], after[which])
    return ids[places], lengths[which]


def flat(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """The ids of all rows, one after the other, and the rows' lengths; int64."""
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    return np.fromiter((id_ for row in rows for id_ in row), np.int64, int(lengths.sum())), lengths


def ranges(first: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All numbers of some ranges, and the place of the range that each is from; int64."""
    sizes = after - first
    of_range = np.repeat(np.arange(len(sizes)), sizes)
    return np.arange(len(of_range)) - (sizes.cumsum() - sizes)[of_range] + first[of_range], of_range
