"""Byte-pair merges of the tokens that a text was cut into.

Byte-pair encoding merges two neighbouring symbols at a time, the most frequent pair first. Here the symbols are tokens,
each written as one character, so that the trainer of `tokenizers` learns the merges.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

# Token n is written as character _FIRST + n: from there on are neither surrogates nor white space.
_FIRST = 0x10000

Ids = tuple[int, ...]


def learn_merges(
    ids: np.ndarray, lengths: np.ndarray, times: Sequence[int], joined: np.ndarray, size: int
) -> list[tuple[Ids, Ids]]:
    """Learn merges within words, in the order in which they apply.

    Args:
        ids: int64 `(n,)`, the tokens of all words, one word after the other.
        lengths: int64 `(words,)`, how many tokens each word has.
        times: How often each word occurs.
        joined: Bool `(V,)`, which tokens may be merged with their neighbours.
        size: How many different results are wanted.

    Returns:
        Left and right part of each merge, as the tokens that they are made of; fewer where no pair occurs twice.
    """
    text = np.where(joined[ids], ids + _FIRST, ord(" ")).astype("<u4").tobytes().decode("utf-32-le")
    words = (text[end - length : end] for end, length in zip(lengths.cumsum(), lengths, strict=True))
    alphabet = sorted({*text} - {" "})
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + size, initial_alphabet=alphabet, min_frequency=2, show_progress=False
    )
    tokenizer.train_from_iterator((f"{word} " * count for word, count in zip(words, times, strict=True)), trainer)
    return [(_ids(left), _ids(right)) for left, right in json.loads(tokenizer.to_str())["model"]["merges"]]


def _ids(text: str) -> Ids:
    return tuple(ord(character) - _FIRST for character in text)
