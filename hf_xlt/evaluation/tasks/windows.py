"""Texts as windows that an encoder can read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hf_xlt.data.token_stream import Frame


def text_windows(
    ids: Sequence[int] | np.ndarray, frame: Frame, longest: int
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """A text's tokens cut into as few windows as hold them, of nearly equal lengths, special tokens around each.

    Args:
        ids: Tokens without special ones.
        frame: What the tokenizer puts around a text.
        longest: Tokens a window may have, special ones included.

    Returns:
        Windows, and for each the positions of the text's own tokens in it.
    """
    parts = np.array_split(np.asarray(ids, dtype=np.int64), max(1, -(-len(ids) // frame.room(longest))))
    windows = tuple(frame.around(part) for part in parts)
    return windows, tuple(np.arange(len(part)) + len(frame.prefix) for part in parts)
