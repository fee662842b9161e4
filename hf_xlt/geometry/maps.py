"""Orthogonal maps in closed form, of paired rows or without evidence; rows are mapped from the right, `rows @ map`."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_xlt.errors import InputError
from hf_xlt.geometry.csls import matches
from hf_xlt.geometry.similarity import unit_rows


def procrustes(rows: Tensor, images: Tensor) -> Tensor:
    """The orthogonal map `W` that minimizes `‖rows W − images‖`: `W = UVᵀ` with `U S Vᵀ = svd(rowsᵀ images)`.

    Rows are `(…, p, k)` and images `(…, p, d)`, with leading dimensions for a stack of problems; the map is `(…, k,
    d)`, computed in float64. Where the widths differ it has orthonormal rows (k < d) or columns (k > d): the nearest
    such map in the sense of the largest `tr((rows W)ᵀ images)`.
    """
    if rows.shape[:-1] != images.shape[:-1] or not rows.shape[-2]:
        raise InputError(
            f"Cannot map rows {tuple(rows.shape)} to {tuple(images.shape)}",
            expected="as many of one as of the other, and at least one pair",
            hint="Check the dictionary.",
        )
    left, _, right = torch.linalg.svd(rows.mT.double() @ images.double(), full_matrices=False)
    return (left @ right).to(images.dtype)


def orthogonalize(maps: Tensor, beta: float) -> Tensor:
    """One step towards the orthogonal maps, `(1 + β)W − βWWᵀW`, for a map or a stack of them `(…, k, d)`."""
    return (1 + beta) * maps - beta * (maps @ maps.mT) @ maps


def axes_start(rows: Tensor, images: Tensor) -> Tensor:
    """Map the principal axes of centered rows `(n, k)` to those of images `(m, d)`, the strongest to the strongest.

    An axis has no sign of its own: it is turned to where its coordinates are positively skewed. The second and third
    moments are all that is used, so the time is that of two `d × d` products; what comes out is rough.
    """
    shared = min(rows.shape[1], images.shape[1])
    return _axes(rows)[:, :shared] @ _axes(images)[:, :shared].T


def _axes(rows: Tensor) -> Tensor:
    """Principal axes `(d, d)` in columns by falling variance, turned to positive skewness."""
    axes = torch.linalg.eigh((rows.T @ rows).double()).eigenvectors.flip(1).to(rows)
    skewness = (rows @ axes).pow(3).sum(0)
    return axes * torch.where(skewness < 0, -1.0, 1.0)


def similarity_start(rows: Tensor, images: Tensor) -> Tensor:
    """Map rows `(n, k)` to images `(m, d)`, both unit rows of frequent words, whose similarity profiles match.

    A word's profile is its row of the square root of the similarity matrix, sorted: it does not depend on any axis of
    the space, nor on the order of words, so profiles of two spaces compare (VecMap's unsupervised initialization,
    section 3.2). They are centered, scaled to length one, and matched under CSLS, both ways. What
    one side has more than the other is left out; `n × n` similarities are formed.
    """
    size = min(len(rows), len(images))
    rows, images = rows[:size], images[:size]
    found = matches(_profiles(rows), _profiles(images))
    backward = torch.stack([found.backward, torch.arange(size, device=rows.device)], dim=1)
    forward = torch.stack([backward[:, 1], found.forward], dim=1)
    pairs = torch.cat([forward, backward])
    return procrustes(rows[pairs[:, 0]], images[pairs[:, 1]])


def _profiles(rows: Tensor) -> Tensor:
    """Sorted rows `(n, n)` of `(X Xᵀ)^½ = U S Uᵀ`, where `X = U S Vᵀ`; centered unit rows."""
    left, singular, _ = torch.linalg.svd(rows, full_matrices=False)
    profiles = unit_rows(((left * singular) @ left.T).sort(dim=1).values)
    return unit_rows(profiles - profiles.mean(0))
