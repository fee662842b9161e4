"""The geometry of embedding rows: their lengths, how evenly they fill their space, and which lie near each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hf_xlt.geometry.similarity import unit_rows

# Rows that lengths and directions are estimated from, a seeded sample where there are more, and the seed.
SAMPLED_ROWS = 4096
SEED = 0

_RUN = 64  # rows sampled together: of a table on the disk, whatever lies near a row that is read comes into memory
_BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Lengths:
    """Euclidean lengths of some rows: how many rows there are, the mean and the standard deviation."""

    rows: int
    mean: float
    std: float

    @classmethod
    def of(cls, table: Tensor, ids: Tensor | None = None) -> "Lengths":
        """Of the rows of a table `(n, d)`, or of some of them, at least one; estimated from `SAMPLED_ROWS` rows."""
        lengths = torch.linalg.vector_norm(sample(table, ids), dim=1)
        count = len(table) if ids is None else len(ids)
        return cls(count, float(lengths.mean()), float(lengths.std(correction=0)))


@dataclass(frozen=True)
class Isotropy:
    """How evenly rows fill the directions of their space."""

    # mean cosine of all pairs of different rows, 0 where directions are even (Ethayarajh 2019, "How Contextual are
    # Contextualized Word Representations?", arXiv:1909.00512, §4.1)
    mean_cosine: float
    # share of the variance along the first principal component, 1/d where it is even (Mu & Viswanath 2018, "All-but-
    # the-Top", arXiv:1702.01417, §2)
    first_component: float

    @classmethod
    def of(cls, table: Tensor) -> "Isotropy":
        """Of a table `(n, d)` of any float dtype, estimated from `SAMPLED_ROWS` rows."""
        rows = sample(table)
        return cls(mean_cosine(rows), first_component(rows))


def mean_cosine(rows: Tensor) -> float:
    """Mean cosine of all pairs of different rows `(n, d)` that are not zero; 0 where there are fewer than two.

    With unit rows u, the cosines of all pairs, each row with itself included, sum to `‖Σ u‖²`.
    """
    units = unit_rows(rows)
    total, count = units.sum(0, dtype=torch.float64), int(rows.any(dim=1).sum())
    return float((total @ total - count) / (count * (count - 1))) if count > 1 else 0.0


def sample(table: Tensor, ids: Tensor | None = None) -> Tensor:
    """Float32 `(≤ SAMPLED_ROWS, d)`: all rows of a table, or those of some ids, or a seeded sample of them.

    No more of the table is read, which may be much larger than memory.
    """
    count = len(table) if ids is None else len(ids)
    if count > SAMPLED_ROWS:
        starts = _RUN * torch.randperm(count // _RUN, generator=torch.Generator().manual_seed(SEED))
        chosen = (starts[: SAMPLED_ROWS // _RUN, None] + torch.arange(_RUN)).flatten()
        ids = chosen if ids is None else ids[chosen]
    return (table if ids is None else table[ids]).float()


def first_component(rows: Tensor) -> float:
    """Share of the variance of rows `(n, d)` along their first principal component, in O(n d² + d³); 0 without any."""
    variances = torch.linalg.eigvalsh(torch.cov(rows.T, correction=0).reshape(rows.shape[1], rows.shape[1]))
    total = float(variances.sum())
    return float(variances[-1]) / total if total else 0.0


def nearest_names(queries: Tensor, table: Tensor, names: Sequence[str], k: int) -> list[tuple[tuple[str, float], ...]]:
    """The k rows of a table `(n, d)` with the largest cosines to each query `(q, d)`, nearest first, in O(n d) each.

    There are names of the first rows; those with an empty one are left out.
    """
    units = unit_rows(queries)
    cosines = torch.cat([unit_rows(block) @ units.T for block in table[: len(names)].split(_BLOCK_ROWS)])
    cosines[torch.tensor([not name for name in names])] = -torch.inf
    largest, places = cosines.T.topk(min(k, sum(map(bool, names))), dim=1)
    return [
        tuple((names[place], cosine) for place, cosine in zip(*row, strict=True))
        for row in zip(places.tolist(), largest.tolist(), strict=True)
    ]
