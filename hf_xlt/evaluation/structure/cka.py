"""Linear centered kernel alignment: how alike two representations of the same things are, whatever their axes.

`CKA(X, Y) = HSIC(X, Y) / √(HSIC(X, X) · HSIC(Y, Y))` (Kornblith et al., 2019). With linear kernels everything follows
from products of width × width; no kernel of rows × rows is formed.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from tqdm.auto import tqdm

from hf_xlt.errors import InputError

_ROWS = 2048
_FEWEST = 2
_FEWEST_DEBIASED = 4


class CKA:
    """CKA of two representations of the same things, streamed over blocks of rows.

    Rows are multiplied in their own precision, at least float32, and summed in float64. They are taken relative to
    the first block's mean, so that a mean far from zero costs no digits; what remains of it is taken out at the end.
    """

    def __init__(self) -> None:
        self._cross, self._of_x, self._of_y = _HSIC(), _HSIC(), _HSIC()
        self._origins: tuple[Tensor, ...] = ()

    def __repr__(self) -> str:
        widths = " and ".join(str(len(origin)) for origin in self._origins)
        return f"CKA({self._cross.size:,} rows{f', widths {widths}' if widths else ''})"

    def update(self, x: Tensor, y: Tensor) -> None:
        """Add a block of rows `(b, d1)` and `(b, d2)`, of the same things row for row, as wide as those before."""
        _check_pair(x, y)
        if not len(x):
            return
        sides = _float(x), _float(y)
        self._origins = self._origins or tuple(side.mean(0) for side in sides)
        widths, known = ([rows.shape[-1] for rows in group] for group in (sides, self._origins))
        if widths != known:
            raise InputError(
                f"A block of widths {widths} after others of {known}", expected="blocks of the same two representations"
            )
        of_x, of_y = (side - origin.to(side) for side, origin in zip(sides, self._origins, strict=True))
        self._cross.add(of_x, of_y)
        self._of_x.add(of_x, of_x)
        self._of_y.add(of_y, of_y)

    def value(self) -> float:
        """`‖X_cᵀY_c‖²_F / (‖X_cᵀX_c‖_F · ‖Y_cᵀY_c‖_F)` of centered columns, from 0 to 1.

        Fewer than 2 rows, or rows of a side that are all alike or not finite, raise InputError.
        """
        return _share(self._cross.value(), self._of_x.value(), self._of_y.value())

    def debiased(self) -> float:
        """CKA of unbiased estimates, which does not grow with the width where rows are few; it may be negative.

        Fewer than 4 rows, or rows of a side that are all alike or not finite, raise InputError.
        """
        return _share(self._cross.unbiased(), self._of_x.unbiased(), self._of_y.unbiased())


def cka_map(xs: Iterable[Tensor], ys: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """CKA of all pairs of layers of one model `(n, d1)` and of another `(n, d2)`, on the same things in the same order.

    Float64 `(L1, L2)`, plain and debiased. The products of a layer with itself are computed once.
    """
    xs, ys = list(xs), list(ys)
    for x, y in ((x, y) for x in xs for y in ys):
        _check_pair(x, y)
    of_ys = [_hsic(blocks, blocks) for blocks in map(list, map(_blocks, ys))]
    plain, debiased = torch.empty(2, len(xs), len(ys), dtype=torch.float64)
    for i, x in enumerate(tqdm(xs, desc="CKA", unit="layer", disable=None, leave=False)):
        blocks = list(_blocks(x))
        of_x = _hsic(blocks, blocks)
        for j, (y, of_y) in enumerate(zip(ys, of_ys, strict=True)):
            cross = _hsic(blocks, _blocks(y))
            plain[i, j] = _share(cross.value(), of_x.value(), of_y.value())
            debiased[i, j] = _share(cross.unbiased(), of_x.unbiased(), of_y.unbiased())
    return plain, debiased


class _HSIC:
    """Hilbert-Schmidt independence criterion of paired rows under the kernels `K = XXᵀ` and `L = YYᵀ`, streamed."""

    def __init__(self) -> None:
        self.size = 0

    def add(self, x: Tensor, y: Tensor) -> None:
        if not self.size:
            self._x, self._weighted_x = torch.zeros(2, x.shape[1], dtype=torch.float64, device=x.device).unbind()
            self._y, self._weighted_y = torch.zeros(2, y.shape[1], dtype=torch.float64, device=y.device).unbind()
            self._cross, self._diagonals = torch.outer(self._x, self._y), self._x.new_zeros(3)
        self.size += len(x)
        diagonal_x, diagonal_y = torch.linalg.vecdot(x, x), torch.linalg.vecdot(y, y)
        self._cross += x.T @ y.to(x)
        self._x += x.sum(0)
        self._y += y.sum(0)
        self._weighted_x += diagonal_y.to(x) @ x
        self._weighted_y += diagonal_x.to(y) @ y
        self._diagonals += torch.stack([diagonal_x.sum(), diagonal_y.sum(), diagonal_x @ diagonal_y.to(x)])

    def value(self) -> float:
        """`‖X_cᵀY_c‖²_F / (n − 1)²`, with the columns of `X_c` and `Y_c` centered."""
        _check_number(self.size, _FEWEST)
        centered = self._cross - torch.outer(self._x, self._y) / self.size
        return float(centered.square().sum()) / (self.size - 1) ** 2

    def unbiased(self) -> float:
        """The unbiased estimator of Song et al. (2012), which Nguyen et al. (2021) use for CKA.

        With the diagonals of `K̃` and `L̃` set to zero it is
        `(tr(K̃L̃) + 1ᵀK̃1 · 1ᵀL̃1 / ((n − 1)(n − 2)) − 2/(n − 2) · 1ᵀK̃L̃1) / (n(n − 3))`.
        """
        _check_number(self.size, _FEWEST_DEBIASED)
        n = self.size
        diagonal_x, diagonal_y, both = self._diagonals.tolist()
        trace = float(self._cross.square().sum()) - both
        sums = (float(self._x @ self._x) - diagonal_x) * (float(self._y @ self._y) - diagonal_y)
        product = self._x @ self._cross @ self._y - self._x @ self._weighted_x - self._y @ self._weighted_y
        return (trace + sums / ((n - 1) * (n - 2)) - 2 / (n - 2) * (float(product) + both)) / (n * (n - 3))


def _blocks(rows: Tensor) -> Iterator[Tensor]:
    """A whole representation, about the mean of its first rows."""
    origin = _float(rows[:_ROWS]).mean(0)
    return (_float(block) - origin for block in rows.split(_ROWS))


def _hsic(xs: Iterable[Tensor], ys: Iterable[Tensor]) -> _HSIC:
    sums = _HSIC()
    for x, y in zip(xs, ys, strict=True):
        sums.add(x, y)
    return sums


def _float(rows: Tensor) -> Tensor:
    return rows.to(torch.promote_types(rows.dtype, torch.float32))


def _share(cross: float, of_x: float, of_y: float) -> float:
    if not (0 < of_x < float("inf") and 0 < of_y < float("inf")):
        raise InputError(
            "CKA is not defined: a representation is the same for all rows, or holds NaN or infinity. Check the model, "
            "and that the pairs differ."
        )
    return cross / (of_x * of_y) ** 0.5


def _check_pair(x: Tensor, y: Tensor) -> None:
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise InputError(
            f"Representations of shapes {tuple(x.shape)} and {tuple(y.shape)}",
            expected="two matrices with as many rows, each of the same thing",
            hint="Give the representations of pairs.",
        )


def _check_number(rows: int, fewest: int) -> None:
    if rows < fewest:
        raise InputError(f"CKA is asked of {rows} rows", expected=f"at least {fewest}", hint="Give more pairs.")
