"""A space to be aligned: the rows of a table, normalised, and which of them to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from hf_xlt.errors import InputError
from hf_xlt.geometry.similarity import unit_rows

# A row this much shorter than the typical one is the mark of a word without a vector (fastText writes 1e-8), not one.
NO_VECTOR = 1e-4


@dataclass(frozen=True, eq=False)
class Space:
    """Rows scaled to length one, centred, and scaled to length one again.

    Attributes:
        rows: float32 `(V, d)`; zero where the table has no vector.
        order: int64 `(n,)`, the rows to learn from, most frequent first; all have a vector.
        lengths: float32 `(n,)`, lengths of those rows in the table.
        mean: float32 `(d,)`, what centring took away.
        distances: float32 `(V,)`, how far each row was from the mean, as a unit row.
    """

    rows: Tensor
    order: Tensor
    lengths: Tensor
    mean: Tensor
    distances: Tensor

    @classmethod
    def of(cls, name: str, vectors: Tensor, order: Tensor) -> Self:
        """Normalise a table.

        Args:
            name: What the table is called in messages.
            vectors: `(V, d)`, of any float dtype; rows of no length have no vector.
            order: int64, ids by falling frequency, each once; those to learn from, so without special tokens.

        Raises:
            InputError: If vectors are not finite numbers, an id is out of range or given twice, or no row to learn
                from is left.
        """
        vectors = _checked_vectors(name, vectors)
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        order = _checked_order(name, order, len(vectors)).to(vectors.device)
        placed = lengths > NO_VECTOR * lengths[lengths > 0].median() if lengths.any() else lengths > 0
        order = order[placed[order]]
        if not len(order):
            raise InputError(
                f"None of the {name} words to learn from has a vector; expected some. Check ids and table."
            )
        rows = unit_rows(vectors)
        mean = rows[order].mean(0)
        rows.sub_(mean).mul_(placed[:, None])
        return cls(unit_rows(rows), order, lengths[order], mean, torch.linalg.vector_norm(rows, dim=1))

    def frequent(self, count: int) -> Tensor:
        """The rows `(≤ count, d)` of the most frequent words, in order."""
        return self.rows[self.order[:count]]

    def ranks(self) -> Tensor:
        """Int64 `(V,)`: each row's place in the order; −1 where it has none."""
        ranks = torch.full((len(self.rows),), -1, device=self.rows.device)
        ranks[self.order] = torch.arange(len(self.order), device=self.rows.device)
        return ranks


def _checked_vectors(name: str, vectors: Tensor) -> Tensor:
    if vectors.ndim != 2 or not vectors.is_floating_point():
        raise InputError(f"The {name} vectors are {vectors.dtype} {tuple(vectors.shape)}; expected a float table.")
    vectors = vectors.detach().to(torch.float32)
    broken = (~vectors.isfinite()).any(dim=1).nonzero()
    if len(broken):
        raise InputError(
            f"Row {int(broken[0])} of the {name} vectors holds NaN or infinity; expected numbers: mend or drop it."
        )
    return vectors


def _checked_order(name: str, order: Tensor, rows: int) -> Tensor:
    if order.ndim != 1 or order.dtype != torch.int64 or not len(order):
        raise InputError(
            f"The {name} order is {order.dtype} {tuple(order.shape)}; expected int64 ids by falling frequency."
        )
    if order.min() < 0 or order.max() >= rows:
        raise InputError(
            f"The {name} order runs from {int(order.min())} to {int(order.max())}; expected ids below {rows}, the rows "
            "of the table."
        )
    if len(order.unique()) < len(order):
        raise InputError(f"The {name} order names an id twice; expected each once, the most frequent first.")
    return order
