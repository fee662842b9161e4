"""Mixtures: target rows made out of source rows by a linear operator `W (n, V_s)`, which is never formed densely.

Each checks its parts once, when made: a wrong shape, dtype or id, NaN or infinity raises ValueError.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hf_xlt.errors import InputError
from hf_xlt.files.tensors import tensors_of

# Rounding: what counts as zero, as a share of the largest value the vectors allow.
NEAR_ZERO = 1e-6

_BLOCK_ROWS = 4096
_BLOCK_BYTES = 24 * 2**20

Array = np.ndarray | Tensor
Rows = Callable[[slice], Tensor]


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Slices that cover `rows`, each small enough for a float32 block of that many rows and `columns`."""
    step = max(1, _BLOCK_BYTES // (4 * max(1, columns)))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


class Mixture(ABC):
    """`n_rows` target rows as weighted sums of source rows; all arithmetic is in float32."""

    kind: ClassVar[str]
    sums_sources: ClassVar[bool] = True  # whether rows are sums of source rows, and so any column can be mixed alike
    source_size: int  # number of source ids: the rows a source matrix must have at least

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors_of(self).items() if tensor.ndim)
        return f"{type(self).__name__}({shapes})"

    @property
    @abstractmethod
    def finite(self) -> Tensor:
        """Bool `(n,)`: False where a row has no usable evidence; `apply` leaves such a row zero."""

    @property
    def n_rows(self) -> int:
        """Number of target rows, n."""
        return len(self.finite)

    @abstractmethod
    def weights(self, row: int) -> tuple[Tensor, Tensor]:
        """Source ids `(w,)` and float32 weights `(w,)` of one row; empty where it has no usable evidence."""

    @abstractmethod
    def rows_of(self, matrix: Tensor) -> Rows:
        """A function that makes any slice of the rows of `apply(matrix)`, float32 `(rows, d)`, when asked for."""

    def apply(self, matrix: Tensor) -> Tensor:
        """Mix a source matrix `(V_s, d)` of any float dtype into float32 target rows `(n, d)`."""
        if matrix.ndim != 2 or not matrix.is_floating_point() or len(matrix) < self.source_size:
            raise InputError(
                f"Cannot mix the rows of a {matrix.dtype} tensor of shape {tuple(matrix.shape)}",
                expected=f"float and {self.source_size} rows or more",
                hint="Pass the table the mixture was built for.",
            )
        mixed = torch.empty(self.n_rows, matrix.shape[1], device=matrix.device)
        rows_of = self.rows_of(matrix.detach())
        for rows in row_blocks(*mixed.shape):
            mixed[rows] = rows_of(rows)
        return mixed


@dataclass(frozen=True, eq=False, repr=False)
class SparseMixture(Mixture):
    """Few weights a row, in compressed sparse rows: top-k, sparsemax, translation probabilities, counts."""

    kind = "sparse"
    crow: Tensor  # int64 `(n + 1,)`, where each row's entries begin and end
    col: Tensor  # int64 `(nnz,)`, source ids
    values: Tensor  # float32 `(nnz,)`, weights
    source_size: int  # number of source ids

    @classmethod
    def of(cls, rows: Array, col: Array, values: Array, shape: tuple[int, int]) -> "SparseMixture":
        """Of the target row, source id and weight `(nnz,)` of each entry, rows ascending; `shape` is `(n, V_s)`."""
        ends = torch.bincount(torch.as_tensor(rows), minlength=shape[0]).cumsum(0)
        crow = torch.cat([ends.new_zeros(1), ends])
        return cls(crow, torch.as_tensor(col), torch.as_tensor(values, dtype=torch.float32), shape[1])

    def __post_init__(self) -> None:
        check_ids("col", self.col, self.source_size)
        check_ids("crow", self.crow, len(self.col) + 1)
        _check_values("values", self.values, len(self.col))
        ends = self.crow[[0, -1]].tolist() if len(self.crow) else []
        if ends != [0, len(self.col)] or (self.crow.diff() < 0).any():
            raise ValueError(f"crow must rise from 0 to the number of entries, {len(self.col)}.")

    @cached_property
    def finite(self) -> Tensor:
        """Bool `(n,)`: the row has at least one entry."""
        return self.crow.diff() > 0

    def weights(self, row: int) -> tuple[Tensor, Tensor]:
        """Of the entries of one row."""
        entries = slice(int(self.crow[row]), int(self.crow[row + 1]))
        return self.col[entries], self.values[entries]

    def rows_of(self, matrix: Tensor) -> Rows:
        """Sums over the entries of the rows asked for, read where they are or, a block at a time, as float32."""
        crow, col, values = (t.to(matrix.device) for t in (self.crow, self.col, self.values))
        readable = matrix.dtype == torch.float32 and matrix.is_contiguous()
        at_once = len(col) + 1 if readable else max(1, _BLOCK_BYTES // (4 * max(1, matrix.shape[1])))

        def sums(ends: Tensor) -> Tensor:
            entries = slice(int(ends[0]), int(ends[-1]))
            ids, weights = col[entries], values[entries]
            table = matrix
            if not readable:
                used, ids = ids.unique(return_inverse=True)
                table = matrix[used].float()
            return F.embedding_bag(
                ids, table, ends - ends[0], mode="sum", per_sample_weights=weights, include_last_offset=True
            )

        def rows_of(rows: slice) -> Tensor:
            ends = crow[rows.start : rows.stop + 1]
            cuts = torch.searchsorted(ends, torch.arange(int(ends[0]), int(ends[-1]), at_once).to(ends), side="right")
            made = torch.empty(len(ends) - 1, matrix.shape[1], device=matrix.device)
            for first, after in pairwise(sorted({0, *cuts[1:].tolist(), len(made)})):
                made[first:after] = sums(ends[first : after + 1])
            return made

        return rows_of


@dataclass(frozen=True, eq=False, repr=False)
class _PairwiseMixture(Mixture):
    """Weights from all inner products of target and source vectors, `left rightᵀ (n, o)`, over their sum."""

    lowest: ClassVar[float]
    left: Tensor  # float32 `(n, r)`, one vector a target row; its length cancels out
    right: Tensor  # float32 `(o, r)`, one vector a source row; unit rows make the products cosines
    source_ids: Tensor  # int64 `(o,)`, the source ids of the rows of `right`

    def __post_init__(self) -> None:
        _check_values("left", self.left, None, None)
        _check_values("right", self.right, len(self.source_ids), self.left.shape[1])
        check_ids("source_ids", self.source_ids)
        if not len(self.source_ids):
            raise ValueError("source_ids is empty; expected at least one source row to mix.")

    @cached_property
    def source_size(self) -> int:  # type: ignore[override]
        """Number of source ids up to the largest one mixed."""
        return int(self.source_ids.max()) + 1

    def weights(self, row: int) -> tuple[Tensor, Tensor]:
        """Of all sources `(o,)`; empty where it has no usable evidence."""
        if not self.finite[row]:
            return self.source_ids[:0], self.right.new_empty(0)
        products = (self.right.double() @ self.left[row].double()).clamp_(min=self.lowest)
        return self.source_ids, (products / products.sum()).float()


@dataclass(frozen=True, eq=False, repr=False)
class FactoredMixture(_PairwiseMixture):
    """All inner products, normalized by their sum: CLP-Transfer's mixture in closed form.

    With unit helper rows A (missing) and B (overlap), the paper's `Σ_o cos(t,o) E_o / Σ_o cos(t,o)` over the whole
    overlap is `diag(A(Bᵀ1))⁻¹ · A(BᵀE_O)`: two thin products, time O((n+o)·r·d). Cosines keep their sign as in the
    paper, so a sum can come near zero and blow the row up; such rows are not `finite`.
    """

    kind = "factored"
    lowest = float("-inf")

    @cached_property
    def _sums(self) -> Tensor:
        """Float64 `(n,)`: each row's sum of weights before it is normalized."""
        total = self.right.sum(0, dtype=torch.float64)
        return torch.cat([rows.double() @ total for rows in self.left.split(_BLOCK_ROWS)])

    @cached_property
    def finite(self) -> Tensor:
        """Bool `(n,)`: the weights, once normalized, are no longer as a vector than the weight of a copied row, 1.

        Where their length `‖Ba‖ / |Σ Ba|` exceeds 1, the row would be longer than the rows it is mixed from. Most rows
        are cleared by the bound `‖Ba‖ ≤ ‖B‖ ‖a‖`, without computing `Ba`.
        """
        sums = self._sums.abs()
        lengths = torch.linalg.vector_norm(self.left, dim=1).double() * torch.linalg.matrix_norm(self.right).double()
        doubtful = (sums < lengths).nonzero().squeeze(1)
        if len(doubtful):
            gram = sum((rows.T @ rows).double() for rows in self.right.split(_BLOCK_ROWS))  # (r, r)
            rows = self.left[doubtful].double()
            lengths[doubtful] = ((rows @ gram) * rows).sum(1).clamp_(min=0).sqrt()
        return (sums > 0) & (sums >= (1 - NEAR_ZERO) * lengths)

    def rows_of(self, matrix: Tensor) -> Rows:
        """Rows from one small product of overlap vectors and source rows, BᵀE_O `(r, d)`."""
        # In float64, so that neither the size of the overlap nor the number of threads can be seen in the rows.
        total = self.right.new_zeros(self.right.shape[1], matrix.shape[1], dtype=torch.float64)
        ids = self.source_ids.to(matrix.device)
        for right, block in zip(self.right.split(_BLOCK_ROWS), ids.split(_BLOCK_ROWS), strict=True):
            total += right.T.double() @ matrix[block].to(right.device, torch.float64)
        product, scale = total.float(), torch.where(self.finite, 1 / self._sums, 0).float()
        return lambda rows: (self.left[rows] @ product).mul_(scale[rows, None])


@dataclass(frozen=True, eq=False, repr=False)
class ClippedMixture(_PairwiseMixture):
    """Inner products with negative ones set to zero, normalized by their sum, a row block at a time."""

    kind = "clipped"
    lowest = 0.0

    @cached_property
    def _floor(self) -> Tensor:
        """Float32 `(n,)`: the sum of weights that counts as zero; the largest one is Cauchy-Schwarz's."""
        lengths = torch.linalg.vector_norm(self.left, dim=1)
        return NEAR_ZERO * torch.linalg.vector_norm(self.right, dim=1).sum() * lengths

    @cached_property
    def finite(self) -> Tensor:
        """Bool `(n,)`: the sum of positive inner products is not near zero."""
        # The sum only grows: a row is settled once past the floor, as most are after the first block.
        total = torch.zeros_like(self._floor)
        for right in self.right.split(_BLOCK_ROWS // 8):
            unsettled = (total <= self._floor).nonzero().squeeze(1)
            for block in row_blocks(len(unsettled), len(right)):
                rows = unsettled[block]
                total[rows] += (self.left[rows] @ right.T).clamp_(min=0).sum(1)
        return total > self._floor

    def rows_of(self, matrix: Tensor) -> Rows:
        """Rows from as many inner products at a time as fit into a block."""
        sources = matrix[self.source_ids.to(matrix.device)].to(self.right)  # (o, d)

        def mixed(rows: slice) -> Tensor:
            positive = (self.left[rows] @ self.right.T).clamp_(min=0)
            sums = positive.sum(1, keepdim=True).masked_fill_(~self.finite[rows, None], torch.inf)
            return (positive @ sources).div_(sums)

        def rows_of(rows: slice) -> Tensor:
            parts = row_blocks(rows.stop - rows.start, len(self.right))
            return torch.cat([mixed(slice(rows.start + part.start, rows.start + part.stop)) for part in parts])

        return rows_of


@dataclass(frozen=True, eq=False, repr=False)
class ProjectedMixture(Mixture):
    """Target vectors times a map into the source space (TreLM): rows that are not sums of source rows."""

    kind = "projected"
    sums_sources = False
    source_size = 0
    vectors: Tensor  # float32 `(n, k)`, the target tokens' own vectors
    map: Tensor  # float32 `(k, d)`

    def __post_init__(self) -> None:
        _check_values("vectors", self.vectors, None, None)
        _check_values("map", self.map, self.vectors.shape[1], None)

    @cached_property
    def finite(self) -> Tensor:
        """Bool `(n,)`: the vector is not zero."""
        return self.vectors.any(dim=1)

    def weights(self, row: int) -> tuple[Tensor, Tensor]:
        """Empty ids and weights: no source row is part of a projected row."""
        return torch.empty(0, dtype=torch.int64), self.vectors.new_empty(0)

    def rows_of(self, matrix: Tensor) -> Rows:
        """Vectors times the map; InputError where the matrix is not as wide as the map."""
        given, width = matrix.shape[1], self.map.shape[1]
        if given != width:
            hint = "Pass one the map leads to."
            raise InputError(f"The source matrix is {given} wide", value=given, expected=f"{width}", hint=hint)
        return lambda rows: self.vectors[rows] @ self.map


_KINDS: tuple[type[Mixture], ...] = (SparseMixture, FactoredMixture, ClippedMixture, ProjectedMixture)
MIXTURES = {kind.kind: kind for kind in _KINDS}  # by the name each is saved under


def check_ids(name: str, ids: Tensor, size: int = sys.maxsize) -> None:
    """Raise ValueError unless `ids` is int64 `(n,)` with entries from 0 and below `size`."""
    if ids.ndim != 1 or ids.dtype != torch.int64:
        raise ValueError(f"{name} is {ids.dtype} of shape {tuple(ids.shape)}; expected one int64 dimension.")
    if len(ids) and (ids.min() < 0 or ids.max() >= size):
        raise ValueError(f"{name} runs from {ids.min()} to {ids.max()}; expected ids from 0 and below {size}.")


def _check_values(name: str, values: Tensor, *shape: int | None) -> None:
    fits = len(shape) == values.ndim and all(n in (None, m) for n, m in zip(shape, values.shape, strict=True))
    if not fits or values.dtype != torch.float32:
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} is {values.dtype} {tuple(values.shape)}; expected float32 ({wanted}).")
    if values.numel() and not torch.stack(values.aminmax()).isfinite().all():
        raise ValueError(f"{name} holds NaN or infinity; check the vectors it was computed from.")
