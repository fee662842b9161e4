"""Texts, and sentences given as words, as windows that an encoder can read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_xlt.data.token_stream import Frame
from hf_xlt.errors import InputError


def text_windows(
    ids: Sequence[int] | np.ndarray, frame: Frame, max_length: int
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """A text's tokens cut into as few windows as hold them, of nearly equal lengths, special tokens around each.

    With each window come the positions of the text's own tokens in it.
    """
    parts = np.array_split(np.asarray(ids, dtype=np.int64), max(1, -(-len(ids) // frame.room(max_length))))
    windows = tuple(frame.around(part) for part in parts)
    return windows, tuple(np.arange(len(part)) + len(frame.prefix) for part in parts)


def encode_words(
    sentences: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]]:
    """Windows of each sentence, and in each the positions of the first pieces of words: one pick a word, in order.

    Words are read as if spaces stood between them. A word that the tokenizer drops is read as the unknown token.
    """
    if not tokenizer.is_fast:
        raise InputError("This tokenizer cannot tell which pieces make up a word; a fast one can (tokenizer.json).")
    if not sentences:
        return []
    # Byte-level tokenizers mark a word that follows a space; whether they mark the first is theirs to say.
    spaced = [[word if i == 0 else f" {word}" for i, word in enumerate(words)] for words in sentences]
    pieces = tokenizer(
        spaced, is_split_into_words=True, add_special_tokens=False, return_attention_mask=False, verbose=False
    )
    encoded, frame = [], Frame.of(tokenizer)
    for row, words in enumerate(sentences):
        ids, first = _first_pieces(pieces["input_ids"][row], pieces.word_ids(row), words, tokenizer.unk_token_id)
        windows, places = text_windows(ids, frame, max_length)
        opens = np.split(first, np.cumsum([len(place) for place in places])[:-1])
        encoded.append((windows, tuple(place[opening] for place, opening in zip(places, opens, strict=True))))
    return encoded


def _first_pieces(
    ids: Sequence[int], owners: Sequence[int], words: Sequence[str], unknown: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Pieces int64 `(n,)`, with the unknown token for a word without any, and whether each is the first of its word."""
    owner = np.asarray(owners, dtype=np.int64)
    dropped = np.flatnonzero(np.bincount(owner, minlength=len(words)) == 0)
    if len(dropped) and unknown is None:
        raise InputError(f"The tokenizer has no piece for the word {words[dropped[0]]!r}, and no unknown token.")
    before = np.searchsorted(owner, dropped)
    owner = np.insert(owner, before, dropped)
    return np.insert(np.asarray(ids, dtype=np.int64), before, unknown or 0), np.diff(owner, prepend=-1) > 0
