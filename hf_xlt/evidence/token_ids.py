"""Texts as the ids of their tokens, without special tokens around them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase


def token_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text."""
    encoded = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
    ids: list[list[int]] = encoded["input_ids"]
    return ids


def flat(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """The ids of all rows, one after the other, and the rows' lengths; int64."""
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    return np.fromiter((id_ for row in rows for id_ in row), np.int64, int(lengths.sum())), lengths
