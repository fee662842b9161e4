"""A first map without any evidence: principal axes laid on principal axes."""

from __future__ import annotations

import torch
from torch import Tensor


def axes_start(rows: Tensor, images: Tensor) -> Tensor:
    """Map the principal axes of one space to those of the other, the strongest to the strongest.

    An axis has no sign of its own: it is turned to where its coordinates are positively skewed. The second and third
    moments are all that is used, so the time is that of two `d × d` products; what comes out is rough.

    Args:
        rows: Centred rows `(n, k)` of one space.
        images: Centred rows `(m, d)` of the other.

    Returns:
        An orthogonal map `(k, d)`.
    """
    shared = min(rows.shape[1], images.shape[1])
    return _axes(rows)[:, :shared] @ _axes(images)[:, :shared].T


def _axes(rows: Tensor) -> Tensor:
    """Principal axes `(d, d)` in columns by falling variance, turned to positive skewness."""
    axes = torch.linalg.eigh((rows.T @ rows).double()).eigenvectors.flip(1).to(rows)
    skewness = (rows @ axes).pow(3).sum(0)
    return axes * torch.where(skewness < 0, -1.0, 1.0)
