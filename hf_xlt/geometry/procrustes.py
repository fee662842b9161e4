"""Orthogonal Procrustes: the rotation that brings paired rows closest (Schönemann, 1966).

Rows are mapped from the right everywhere in this package: `mapped = rows @ map`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hf_xlt.errors import InputError


def procrustes(rows: Tensor, images: Tensor) -> Tensor:
    """The orthogonal map `W` that minimises `‖rows W − images‖`: `W = UVᵀ` with `U S Vᵀ = svd(rowsᵀ images)`.

    Where the widths differ, `W` has orthonormal rows (k < d) or columns (k > d): the nearest such map in the sense
    of the largest `tr((rows W)ᵀ images)`. For a stack of problems, leading dimensions are batched.

    Args:
        rows: `(…, p, k)`.
        images: `(…, p, d)`, what each row should become.

    Returns:
        `(…, k, d)`, in the dtype of `images`; computed in float64.

    Raises:
        InputError: If there is no pair, or the numbers of rows differ.
    """
    if rows.shape[:-1] != images.shape[:-1] or not rows.shape[-2]:
        raise InputError(
            f"Cannot map rows {tuple(rows.shape)} to {tuple(images.shape)}; expected as many of one as of the other, "
            "and at least one pair. Check the dictionary."
        )
    left, _, right = torch.linalg.svd(rows.mT.double() @ images.double(), full_matrices=False)
    return (left @ right).to(images.dtype)


def orthogonalize(maps: Tensor, beta: float) -> Tensor:
    """One step towards the orthogonal maps, `(1 + β)W − βWWᵀW`, for a map or a stack of them `(…, k, d)`."""
    return (1 + beta) * maps - beta * (maps @ maps.mT) @ maps
