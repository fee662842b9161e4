"""Cross-domain similarity local scaling: nearest neighbors without hubs (Conneau et al., 2018).

`CSLS(x, y) = 2 cos(x, y) − r(x) − r(y)`, where `r` is a row's mean cosine to its `k` nearest rows of the other space.
All functions take unit rows, work on a block of rows at a time, and never hold all similarities.
"""

from collections.abc import Callable
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
    """`r` of every query `(n,)` and of every key `(m,)`, unit rows, over the `k` nearest or all there are."""
    of_queries = torch.empty(len(queries), device=queries.device)
    nearest = queries.new_empty(len(keys), 0)  # each key's largest cosines so far
    for block in row_blocks(len(queries), len(keys)):
        cosines = queries[block] @ keys.T
        of_queries[block] = _largest(cosines, k).mean(1)
        nearest = _largest(torch.cat([nearest, _largest(cosines.T, k)], dim=1), k)
    return of_queries, nearest.mean(1)


def matches(queries: Tensor, keys: Tensor, k: int = NEIGHBORS) -> Matches:
    """Match every query `(n, d)` and every key `(m, d)`, at least one of either, in two passes over the cosines."""
    of_queries, of_keys = local_means(queries, keys, k)
    forward, backward = best_both_ways(
        queries, keys, lambda cosines, block: 2 * cosines - of_queries[block, None] - of_keys
    )
    blocks = row_blocks(len(queries), keys.shape[1])
    found = [torch.linalg.vecdot(queries[block], keys[forward[block]]) for block in blocks]
    return Matches(forward, backward, torch.cat(found))


def best_both_ways(a: Tensor, b: Tensor, score: Callable[[Tensor, slice], Tensor]) -> tuple[Tensor, Tensor]:
    """The best of `b` `(m, d)` for each of `a` `(n, d)`, both unit rows, and the other way round, in one pass: int64.

    `score` makes scores of the cosines `(rows, m)` of some rows of `a`; of equally good ones the first is taken.
    """
    forward = torch.empty(len(a), dtype=torch.int64, device=a.device)
    backward = torch.zeros(len(b), dtype=torch.int64, device=b.device)
    highest = torch.full((len(b),), -torch.inf, device=b.device)
    for rows in row_blocks(len(a), len(b)):
        scores = score(a[rows] @ b.T, rows)
        forward[rows] = scores.argmax(1)
        best, places = scores.max(0)
        better = best > highest
        highest[better], backward[better] = best[better], places[better] + rows.start
    return forward, backward


def precision_at_1(found: Tensor, pairs: Tensor) -> float:
    """Share of the queries whose match, in `Matches.forward`, is one of their translations.

    Pairs are int64 `(p, 2)`, query and key; a query may have several.
    """
    right = found[pairs[:, 0]] == pairs[:, 1]
    return len(pairs[right, 0].unique()) / len(pairs[:, 0].unique())


def _largest(rows: Tensor, k: int) -> Tensor:
    return rows.topk(min(k, rows.shape[1]), dim=1).values
