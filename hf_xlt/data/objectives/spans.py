"""Spans of tokens to hide, shared by the denoising objectives."""

from __future__ import annotations

import numpy as np


def noise_mask(
    length: int, share: float, mean_span: float, generator: np.random.Generator, most_spans: int | None = None
) -> np.ndarray:
    """Which tokens to hide: about `share` of them, in spans of `mean_span` on average (Raffel et al. 2020, §3.1.4).

    Args:
        length: Number of tokens; with fewer than two nothing is hidden.
        share: Part of the tokens to hide.
        mean_span: Mean length of a span, in tokens.
        generator: Source of randomness.
        most_spans: Upper limit of their number; with fewer of them, they are longer.

    Returns:
        Boolean, `(length,)`; it starts visible, ends hidden, and spans do not touch.
    """
    if length < 2:
        return np.zeros(length, dtype=bool)
    hidden = min(max(round(length * share), 1), length - 1)
    spans = min(max(round(hidden / mean_span), 1), hidden, length - hidden, most_spans or length)
    lengths = np.stack([_partition(length - hidden, spans, generator), _partition(hidden, spans, generator)], axis=1)
    return np.repeat(np.tile([False, True], spans), lengths.ravel())


def _partition(total: int, parts: int, generator: np.random.Generator) -> np.ndarray:
    """Random lengths of `parts` non-empty parts of `total`."""
    cuts = np.sort(generator.permutation(total - 1)[: parts - 1]) + 1
    return np.diff(np.concatenate([[0], cuts, [total]]))


def collapse(ids: np.ndarray, hidden: np.ndarray, stand_ins: np.ndarray) -> np.ndarray:
    """Ids with every hidden span replaced by one stand-in: the first span by the first, and so on, in a cycle."""
    first = hidden & ~np.concatenate([[False], hidden[:-1]])
    replaced = ids.copy()
    replaced[first] = np.resize(stand_ins, first.sum())
    return replaced[~hidden | first]
