"""A first map without any evidence: words that are alike to others in the same way (Artetxe, Labaka & Agirre, 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_xlt.geometry.csls import matches
from hf_xlt.geometry.procrustes import procrustes
from hf_xlt.geometry.similarity import unit_rows


def similarity_start(rows: Tensor, images: Tensor, k: int = 10) -> Tensor:
    """Map rows whose similarity profiles match.

    A word's profile is its row of the square root of the similarity matrix, sorted: it does not depend on any axis of
    the space, nor on the order of words, so profiles of two spaces compare (VecMap's unsupervised initialisation,
    section 3.2). They are centred, scaled to length one, and matched under CSLS, both ways.

    Args:
        rows: Unit rows `(n, k)` of the most frequent words of one space; `n × n` similarities are formed.
        images: The same `(m, d)` of the other; what both have more than the other is left out.
        k: Size of the neighbourhoods of CSLS.

    Returns:
        An orthogonal map `(k, d)`.
    """
    size = min(len(rows), len(images))
    rows, images = rows[:size], images[:size]
    found = matches(_profiles(rows), _profiles(images), k)
    backward = torch.stack([found.backward, torch.arange(size, device=rows.device)], dim=1)
    forward = torch.stack([backward[:, 1], found.forward], dim=1)
    pairs = torch.cat([forward, backward])
    return procrustes(rows[pairs[:, 0]], images[pairs[:, 1]])


def _profiles(rows: Tensor) -> Tensor:
    """Sorted rows `(n, n)` of `(X Xᵀ)^½ = U S Uᵀ`, where `X = U S Vᵀ`; centred unit rows."""
    left, singular, _ = torch.linalg.svd(rows, full_matrices=False)
    profiles = unit_rows(((left * singular) @ left.T).sort(dim=1).values)
    return unit_rows(profiles - profiles.mean(0))
