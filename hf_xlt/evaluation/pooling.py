"""From a vector a token to a vector a sentence."""

from __future__ import annotations

from torch import Tensor


def mean_pooled(states: Tensor, attention_mask: Tensor) -> Tensor:
    """The mean over the tokens of each sentence, special ones included, as sentence-transformers takes it by default.

    Args:
        states: `(…, batch, length, d)`.
        attention_mask: `(batch, length)`, 0 for padding.

    Returns:
        float32 `(…, batch, d)`; zero where a sentence has no token.
    """
    mask = attention_mask[..., None].float()
    return (states.float() * mask).sum(-2) / mask.sum(-2).clamp(min=1)
