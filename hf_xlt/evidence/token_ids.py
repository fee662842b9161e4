"""Texts as the ids of their tokens, without special tokens around them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

_TEXTS_AT_A_TIME = 2**13  # a tokenizer keeps far more of a text than its ids until the last one is done


def token_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text; texts that are equal share one list."""
    distinct = list(dict.fromkeys(texts))
    ids: dict[str, list[int]] = {}
    for start in range(0, len(distinct), _TEXTS_AT_A_TIME):
        some = distinct[start : start + _TEXTS_AT_A_TIME]
        encoded = tokenizer(some, add_special_tokens=False, return_attention_mask=False, verbose=False)
        ids |= zip(some, encoded["input_ids"], strict=True)
    return [ids[text] for text in texts]


def flat(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """The ids of all rows, one after the other, and the rows' lengths; int64."""
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    return np.fromiter((id_ for row in rows for id_ in row), np.int64, int(lengths.sum())), lengths
