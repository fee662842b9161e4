"""Sparsemax: the Euclidean projection of scores on the probability simplex (Martins & Astudillo, 2016)."""

from __future__ import annotations

import torch
from torch import Tensor


def sparsemax_of_largest(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Sparsemax from each row's largest scores alone.

    The weights are `max(0, z - τ)` with `τ` such that they sum to one, found from the sorted scores in closed form.
    A score below `τ` has no influence on it: where the last of the candidates is one, no score was missed.

    Args:
        scores: `(n, k)`, each row's largest scores in falling order.

    Returns:
        The weights, float32 `(n, k)`, and whether each row is closed, bool `(n,)`: the weights are those that all
        scores of the row would have given.
    """
    exact = scores.double()
    excess = exact.cumsum(1) - 1
    ranks = torch.arange(1, scores.shape[1] + 1, device=scores.device)
    support = (exact * ranks > excess).sum(1, keepdim=True)
    threshold = excess.gather(1, support - 1) / support
    return (exact - threshold).clamp_(min=0).float(), exact[:, -1] <= threshold[:, 0]
