"""Texts as the ids of their tokens, without special tokens around them; pairs of texts as pairs of ids."""

import logging
from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_xlt.errors import InputError
from hf_xlt.files.text import first_numbers

logger = logging.getLogger(__name__)

TokenPair = tuple[np.ndarray, np.ndarray]

LONGEST = 512  # tokens a side of a pair: one of so many takes about a second to align, one of 100 some hundredths

_TEXTS_AT_A_TIME = 2**13  # a tokenizer keeps far more of a text than its ids until the last one is done
_FEWEST, _MOST = 100, 1000
_CLEAR = 1.25
_UNKNOWN = 5  # what an unknown token counts for: it stands for a whole word


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


def token_pairs(
    texts: Sequence[tuple[str, str]],
    source: PreTrainedTokenizerBase,
    target: PreTrainedTokenizerBase,
    lines: Sequence[int] = (),
) -> list[TokenPair]:
    """The int64 ids of sentence pairs, each side by its own tokenizer, without special tokens.

    Pairs with an empty side go. So do those with more than `LONGEST` tokens on a side, which are documents rather than
    sentences: to align one takes as long as thousands of sentences, and tells less. They are counted and named.
    """
    if not texts:
        return []
    check_direction(texts, source, target)
    encoded = map(flat_token_ids, (source, target), zip(*texts, strict=True))
    sides = [np.split(ids, lengths.cumsum()[:-1]) for ids, lengths in encoded]
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


def check_direction(
    texts: Sequence[tuple[str, str]], source: PreTrainedTokenizerBase, target: PreTrainedTokenizerBase
) -> None:
    """Refuse pairs whose sides are exchanged: either tokenizer would cut the other side's texts into far fewer tokens.

    Few pairs tell nothing and pass.
    """
    some = texts[:_MOST]
    if len(some) < _FEWEST:
        return
    first, second = zip(*some, strict=True)
    given = _tokens(source, first) + _tokens(target, second)
    exchanged = _tokens(source, second) + _tokens(target, first)
    if given >= _CLEAR * exchanged:
        raise InputError(
            f"The first {len(some)} pairs take {given:,} tokens of the two tokenizers, and {exchanged:,} with source "
            f"and target exchanged, such as {some[0][0][:40]!r} and {some[0][1][:40]!r}",
            expected="texts of the source language and their translations, in this order",
            hint="Exchange the columns, or name them as FILE:source,target.",
        )


def _tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> int:
    ids = [id_ for of_text in token_ids(tokenizer, texts) for id_ in of_text]
    return len(ids) + (_UNKNOWN - 1) * ids.count(tokenizer.unk_token_id)
