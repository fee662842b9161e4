"""Orthogonal matching pursuit: vectors as sums of a few atoms, taken greedily (Pati et al., 1993)."""

import torch
from torch import Tensor
from tqdm import tqdm

from hf_xlt.errors import InputError
from hf_xlt.geometry.similarity import device_blocks

# In float32: a residual this small, as a share of its signal, is rounding, and so is what an atom adds to earlier ones.
_ROUNDING = 1e-6


def matching_pursuit(signals: Tensor, atoms: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Approximate each signal by at most `k` atoms, `z ≈ Σ_j c_j D_j`, atoms being taken as they are, of any length.

    Each round takes the atom with the largest `|⟨r, D_j⟩|`, r being what is left of the signal, and fits all taken
    atoms anew by least squares. These are a QR decomposition that grows by a column a round (Gram-Schmidt, done twice,
    which keeps it orthogonal in float32), for a block of signals at a time: O(n·k·o·d) time and no more memory than a
    block's scores and bases.

    Args:
        signals: float32 `(n, d)`.
        atoms: float32 `(o, d)`, on the same device: where the work is done.
        k: Number of rounds; `o` or `d` if these are smaller.

    Returns:
        The atoms of each signal in the order they were taken, int64 `(n, k)`, and their coefficients, float32 `(n, k)`:
        zero from where a signal was met exactly.
    """
    if k < 1 or not len(atoms):
        raise InputError(f"k is {k}, with {len(atoms)} atoms", value=k, expected="at least 1 of both")
    k = min(k, *atoms.shape)
    blocks = list(device_blocks(len(signals), len(atoms) + k * atoms.shape[1], atoms.device))
    found = [_pursue(signals[block], atoms, k) for block in tqdm(blocks, desc="pursuit", unit="block", disable=None)]
    taken, coefficients = zip(*found, strict=True)
    return torch.cat(taken), torch.cat(coefficients)


def _pursue(signals: Tensor, atoms: Tensor, k: int) -> tuple[Tensor, Tensor]:
    count, width = signals.shape
    taken = torch.zeros(count, k, dtype=torch.int64, device=signals.device)
    basis = signals.new_zeros(count, k, width)  # Q, its rows orthonormal or zero
    triangle = torch.eye(k, device=signals.device).repeat(count, 1, 1)  # R of the atoms taken, Qᵀ R
    amounts = signals.new_zeros(count, k)  # the signal in the basis
    floor = _ROUNDING * torch.linalg.vector_norm(signals, dim=1)
    residual = signals
    for step in range(k):
        scores = (residual @ atoms.T).abs_().scatter_(1, taken[:, :step], -1)
        taken[:, step] = scores.argmax(1)
        atom = atoms[taken[:, step]]
        direction, triangle[:, :step, step] = _orthogonal(atom, basis[:, :step])
        length = torch.linalg.vector_norm(direction, dim=1)
        useful = length > _ROUNDING * torch.linalg.vector_norm(atom, dim=1)
        useful &= torch.linalg.vector_norm(residual, dim=1) > floor
        direction = torch.where(useful[:, None], direction / length[:, None], 0)
        triangle[:, step, step] = torch.where(useful, length, 1)
        basis[:, step] = direction
        amounts[:, step] = (direction * residual).sum(1)
        residual = residual - amounts[:, step, None] * direction
    solved = torch.linalg.solve_triangular(triangle.double(), amounts.double()[:, :, None], upper=True)
    return taken, solved.squeeze(2).float()


def _orthogonal(vectors: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors `(n, d)` without their shares in the bases `(n, i, d)`, and these shares `(n, i)`."""
    shares = vectors.new_zeros(basis.shape[:2])
    for _ in range(2):
        share = (basis @ vectors[:, :, None]).squeeze(2)
        vectors = vectors - (share[:, None] @ basis).squeeze(1)
        shares += share
    return vectors, shares
