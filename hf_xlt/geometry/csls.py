"""Cross-domain similarity local scaling: nearest neighbors without hubs (Conneau et al., 2018).

`CSLS(x, y) = 2 cos(x, y) − r(x) − r(y)`, where `r` is a row's mean cosine to its `k` nearest rows of the other space.
All functions take unit rows, work on a block of rows at a time, and never hold all similarities.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hf_xlt.transport.mixture import row_blocks

NEIGHBORS = 10


@dataclass(frozen=True, eq=False)
class Matches:
    """Each row's best match in the other space under CSLS."""

    forward: Tensor  # int64 `(n,)`, the key of each query
    backward: Tensor  # int64 `(m,)`, the query of each key
    cosines: Tensor  # float32 `(n,)`, of each query and its key

    @property
    def mutual(self) -> Tensor:
        """Int64 `(p, 2)`: query and key that are each other's best match."""
        queries = torch.arange(len(self.forward), device=self.forward.device)
        agreed = self.backward[self.forward] == queries
        return torch.stack([queries, self.forward], dim=1)[agreed]

    @property
    def criterion(self) -> float:
        """Mean cosine of queries and their best matches: how well two spaces lie on each other, unsupervised."""
        return float(self.cosines.mean())


def local_means(queries: Tensor, keys: Tensor, k: int = NEIGHBORS) -> tuple[Tensor, Tensor]:
    """`r` of every query `(n,)` and of every key `(m,)`, from one pass over the cosines.

    Args:
        queries: Unit rows `(n, d)`.
        keys: Unit rows `(m, d)`.
        k: Size of a neighborhood; all rows where there are fewer.
    """
    of_queries = torch.empty(len(queries), device=queries.device)
    nearest = queries.new_empty(len(keys), 0)  # each key's largest cosines so far
    for block in row_blocks(len(queries), len(keys)):
        cosines = queries[block] @ keys.T
        of_queries[block] = _largest(cosines, k).mean(1)
        nearest = _largest(torch.cat([nearest, _largest(cosines.T, k)], dim=1), k)
    return of_queries, nearest.mean(1)


def matches(queries: Tensor, keys: Tensor, k: int = NEIGHBORS) -> Matches:
    """Match every query and every key, in two passes over the cosines.

    Args:
        queries: Unit rows `(n, d)`, at least one.
        keys: Unit rows `(m, d)`, at least one.
        k: Size of the neighborhoods that local means are taken over.
    """
    of_queries, of_keys = local_means(queries, keys, k)
    forward = torch.empty(len(queries), dtype=torch.int64, device=queries.device)
    cosines = torch.empty(len(queries), device=queries.device)
    best = torch.full((len(keys),), -torch.inf, device=keys.device)
    backward = torch.zeros(len(keys), dtype=torch.int64, device=keys.device)
    for block in row_blocks(len(queries), len(keys)):
        doubled = 2 * queries[block] @ keys.T
        forward[block] = (doubled - of_keys).argmax(1)
        cosines[block] = doubled.gather(1, forward[block, None]).squeeze(1) / 2
        scores, rows = (doubled - of_queries[block, None]).max(0)
        better = scores > best
        best[better], backward[better] = scores[better], rows[better] + block.start
    return Matches(forward, backward, cosines)


def precision_at_1(found: Tensor, pairs: Tensor) -> float:
    """Share of the queries of a dictionary whose match is one of their translations.

    Args:
        found: int64 `(n,)`, the key found for each query: `Matches.forward`.
        pairs: int64 `(p, 2)`, query and key; a query may have several.
    """
    right = found[pairs[:, 0]] == pairs[:, 1]
    return len(pairs[right, 0].unique()) / len(pairs[:, 0].unique())


def _largest(rows: Tensor, k: int) -> Tensor:
    return rows.topk(min(k, rows.shape[1]), dim=1).values
