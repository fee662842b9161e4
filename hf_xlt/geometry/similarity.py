"""Cosine similarity of two vocabularies, a row block at a time, and the sparse mixtures made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from tqdm import tqdm

from hf_xlt.errors import InputError
from hf_xlt.geometry.simplex import sparsemax_of_largest
from hf_xlt.mixture import SparseMixture, row_blocks

_FIRST_CANDIDATES = 256

Entries = tuple[Tensor, Tensor, Tensor]
"""Rows, columns and values `(nnz,)` of a sparse matrix."""


def unit_rows(vectors: Tensor) -> Tensor:
    """The rows `(n, d)` scaled to length one, in float32; zero rows stay zero."""
    vectors = vectors.to(torch.float32)
    lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors / lengths.masked_fill_(lengths == 0, 1)


def top_k_softmax(
    queries: Tensor, keys: Tensor, source_ids: Tensor, source_size: int, k: int = 10, temperature: float = 0.1
) -> SparseMixture:
    """Mix each query's `k` nearest keys with the softmax of their cosines over the temperature (WECHSEL, OFA).

    Args:
        queries: Target vectors `(n, d)`; a zero vector gets an empty row.
        keys: Source vectors `(o, d)`; zero vectors are left out.
        source_ids: int64 `(o,)`, the source ids of the keys.
        source_size: Number of source ids.
        k: Number of keys in a row; all of them where there are fewer.
        temperature: What cosines are divided by; the smaller, the more weight on the nearest.

    Raises:
        InputError: If `k` or the temperature is not positive, or a vector holds NaN or infinity.
    """
    if k < 1:
        raise InputError(f"k is {k}; expected at least 1, the number of source tokens in a mixture.")
    if not temperature > 0:
        raise InputError(f"The temperature is {temperature}; expected a positive number such as 0.1.")

    def weigh(cosines: Tensor) -> Iterator[Entries]:
        largest, columns = cosines.topk(min(k, cosines.shape[1]), dim=1)
        yield _entries(torch.arange(len(cosines), device=cosines.device), columns, (largest / temperature).softmax(1))

    return _mix(queries, keys, source_ids, source_size, weigh)


def sparsemax(queries: Tensor, keys: Tensor, source_ids: Tensor, source_size: int) -> SparseMixture:
    """Mix keys with the sparsemax of their cosines to each query, exactly (FOCUS, CLP+).

    Sparsemax needs no more than the largest cosines of a row: all those above its threshold. The rows whose threshold
    does not come out above the last candidate are done again with four times as many.

    Args:
        queries: Target vectors `(n, d)`; a zero vector gets an empty row.
        keys: Source vectors `(o, d)`; zero vectors are left out.
        source_ids: int64 `(o,)`, the source ids of the keys.
        source_size: Number of source ids.

    Raises:
        InputError: If a vector holds NaN or infinity.
    """

    def weigh(cosines: Tensor) -> Iterator[Entries]:
        rows, k = torch.arange(len(cosines), device=cosines.device), _FIRST_CANDIDATES
        while len(rows):
            largest, columns = cosines.topk(min(k, cosines.shape[1]), dim=1)
            weights, closed = sparsemax_of_largest(largest)
            closed |= k >= cosines.shape[1]
            yield _entries(rows[closed], columns[closed], weights[closed])
            rows, cosines, k = rows[~closed], cosines[~closed], 4 * k

    return _mix(queries, keys, source_ids, source_size, weigh)


def _mix(
    queries: Tensor,
    keys: Tensor,
    source_ids: Tensor,
    source_size: int,
    weigh: Callable[[Tensor], Iterator[Entries]],
) -> SparseMixture:
    """Weigh the cosines of all queries and keys, a block of query rows at a time."""
    _check("target", queries)
    _check("source", keys)
    has_direction = keys.any(dim=1)
    keys, source_ids = unit_rows(keys[has_direction]), source_ids.to(keys.device)[has_direction]
    asked = queries.any(dim=1).nonzero().squeeze(1)
    blocks = row_blocks(len(asked) if len(keys) else 0, len(keys))
    parts = [_entries(asked[:0], asked[:0, None], keys.new_empty(0, 1))]
    for block in tqdm(list(blocks), desc="similarity", unit="block", disable=None):
        cosines = unit_rows(queries[asked[block]]) @ keys.T
        parts += [(asked[block][rows], columns, values) for rows, columns, values in weigh(cosines)]
    rows, columns, values = (torch.cat(part) for part in zip(*parts, strict=True))
    order = rows.argsort(stable=True)
    ends = torch.bincount(rows, minlength=len(queries)).cumsum(0)
    crow = torch.cat([ends.new_zeros(1), ends])
    return SparseMixture(crow, source_ids[columns[order]], values[order], source_size)


def _entries(rows: Tensor, columns: Tensor, weights: Tensor) -> Entries:
    """The positive ones of the weights `(b, k)`."""
    positive = weights > 0
    return rows[:, None].expand_as(weights)[positive], columns[positive], weights[positive]


def _check(name: str, vectors: Tensor) -> None:
    broken = (~vectors.isfinite()).any(dim=1).nonzero()
    if len(broken):
        raise InputError(
            f"Row {int(broken[0])} of the {name} vectors holds NaN or infinity; expected numbers: mend or drop it."
        )
