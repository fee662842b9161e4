"""Cosine similarity of two vocabularies, a row block at a time, and the mixtures made of it.

The work is done on the device that the vectors are on; mixtures are handed back in main memory.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from hf_xlt.arguments import MOST, require_device, require_finite, require_one_of, require_positive, require_whole
from hf_xlt.geometry.nearest import Nearest
from hf_xlt.transport.mixture import ClippedMixture, FactoredMixture, Mixture, SparseMixture, row_blocks


def sparsemax_of_largest(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Sparsemax of each row from its largest scores alone, `(n, k)` in falling order.

    The weights are `max(0, z - τ)` with `τ` such that they sum to one, found from the sorted scores in closed form.
    Also whether each row is closed, bool `(n,)`: a score below `τ` has no influence, so where the last of the
    candidates is one, the weights are those that all scores of the row would have given.
    """
    exact = scores.double()
    excess = exact.cumsum(1) - 1
    ranks = torch.arange(1, scores.shape[1] + 1, device=scores.device)
    support = (exact * ranks > excess).sum(1, keepdim=True)
    threshold = excess.gather(1, support - 1) / support
    return (exact - threshold).clamp_(min=0).float(), exact[:, -1] <= threshold[:, 0]


_FIRST_CANDIDATES = 64
_SHARE_OF_FREE = 8  # on a GPU: what becomes of a block of cosines takes several times its size

Entries = tuple[Tensor, Tensor, Tensor]
"""Rows, columns and values `(nnz,)` of a sparse matrix."""


def device_blocks(rows: int, columns: int, device: torch.device) -> Iterable[slice]:
    """Slices that cover `rows`, as `row_blocks` makes them, or larger ones, in a share of a GPU's free memory."""
    if device.type != "cuda":
        return row_blocks(rows, columns)
    free, _ = torch.cuda.mem_get_info(device)
    step = max(1, free // _SHARE_OF_FREE // (4 * max(1, columns)))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def unit_rows(vectors: Tensor) -> Tensor:
    """The rows `(n, d)` scaled to length one, in float32; zero rows stay zero."""
    vectors = vectors.to(torch.float32)
    lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors / lengths.masked_fill_(lengths == 0, 1)


def top_k_softmax(
    queries: Tensor, keys: Tensor, source_ids: Tensor, source_size: int, k: int = 10, temperature: float = 0.1
) -> SparseMixture:
    """Mix each query's `k` nearest keys with the softmax of their cosines over the temperature (WECHSEL, OFA).

    Queries `(n, d)`, keys `(o, d)` and their ids are as for `Weighting.mix`. All keys are taken where there are fewer;
    the smaller the temperature, the more weight on the nearest.
    """
    check_top_k(k, temperature)
    keys, source_ids = _with_direction(keys, source_ids)
    nearest = Nearest(keys, k)

    def weigh(queries: Tensor) -> Iterator[Entries]:
        cosines, columns = nearest.find(queries)
        yield _entries(torch.arange(len(queries), device=keys.device), columns, (cosines / temperature).softmax(1))

    return _mix(queries, weigh, nearest.width, source_ids, source_size)


def sparsemax(queries: Tensor, keys: Tensor, source_ids: Tensor, source_size: int) -> SparseMixture:
    """Mix keys by the sparsemax of their cosines to a query, exactly (FOCUS, CLP+); for arguments see `Weighting.mix`.

    Sparsemax needs no more than the largest cosines of a row: all those above its threshold. The rows whose threshold
    does not come out above the last candidate are done again with four times as many.
    """
    keys, source_ids = _with_direction(keys, source_ids)
    return _mix(queries, lambda queries: _sparsemax_entries(queries @ keys.T), len(keys), source_ids, source_size)


def _sparsemax_entries(cosines: Tensor) -> Iterator[Entries]:
    rows, k = torch.arange(len(cosines), device=cosines.device), _FIRST_CANDIDATES
    while len(rows):
        largest, columns = cosines.topk(min(k, cosines.shape[1]), dim=1)
        weights, closed = sparsemax_of_largest(largest)
        closed |= k >= cosines.shape[1]
        yield _entries(rows[closed], columns[closed], weights[closed])
        rows, cosines, k = rows[~closed], cosines[~closed], 4 * k


def check_top_k(k: int, temperature: float) -> None:
    """Refuse a `k` or a temperature of a top-k softmax that is not positive."""
    require_whole("k", k, least=1, most=MOST)
    require_positive("temperature", temperature)


def _with_direction(keys: Tensor, source_ids: Tensor) -> tuple[Tensor, Tensor]:
    """The keys that are not zero, as unit rows, and their ids, on the device of the keys."""
    _check("source", keys)
    there = keys.any(dim=1)
    return unit_rows(keys[there]), source_ids.to(keys.device)[there]


def _mix(
    queries: Tensor, weigh: Callable[[Tensor], Iterator[Entries]], width: int, source_ids: Tensor, source_size: int
) -> SparseMixture:
    """Weigh keys for unit queries, a block of these at a time; each takes the room of `width` float32 numbers."""
    _check("target", queries)
    device = source_ids.device
    asked = queries.any(dim=1).nonzero().squeeze(1)
    blocks = device_blocks(len(asked) if len(source_ids) else 0, width, device)
    parts = [_entries(asked[:0], asked[:0, None], torch.empty(0, 1, device=device))]
    for block in tqdm(list(blocks), desc="similarity", unit="block", disable=None):
        entries = weigh(unit_rows(queries[asked[block]]))
        parts += [(asked[block][rows], columns, values) for rows, columns, values in entries]
    rows, columns, values = (torch.cat(part) for part in zip(*parts, strict=True))
    order = rows.argsort(stable=True)
    rows, ids, values = (part[order].cpu() for part in (rows, source_ids[columns], values))
    return SparseMixture.of(rows, ids, values, (len(queries), source_size))


def _entries(rows: Tensor, columns: Tensor, weights: Tensor) -> Entries:
    """The positive ones of the weights `(b, k)`."""
    positive = weights > 0
    return rows[:, None].expand_as(weights)[positive], columns[positive], weights[positive]


def _check(name: str, vectors: Tensor) -> None:
    if vectors.numel() and not torch.stack(vectors.aminmax()).isfinite().all():
        require_finite(f"the {name} vectors", vectors)


WEIGHTINGS = ("paper", "positive", "top-k", "sparsemax")


@dataclass(frozen=True)
class Weighting:
    """A way to weigh the tokens a row is mixed from by their cosines to it."""

    # `paper`: the cosines as they are, over all tokens (CLP-Transfer's paper), in closed form; `positive`: the same
    # with negative ones set to zero; `top-k`: softmax of the k largest over a temperature (WECHSEL, OFA); `sparsemax`:
    # their sparsemax (FOCUS, CLP+, RAMEN)
    name: str
    k: int = 10  # number of tokens in a row, for `top-k`
    temperature: float = 0.1  # what cosines are divided by, for `top-k`
    device: str = "cpu"  # where the work is done, such as `cuda`

    def __post_init__(self) -> None:
        require_one_of("weighting", self.name, WEIGHTINGS)
        if self.name == "top-k":
            check_top_k(self.k, self.temperature)
        require_device("device", self.device)

    def mix(self, queries: Tensor, keys: Tensor, source_ids: Tensor, source_size: int) -> Mixture:
        """Mix source rows for each query, on the device; the mixture of `n` rows is in main memory.

        Args:
            queries: Target vectors `(n, d)`; a zero vector gets no weights.
            keys: Vectors `(o, d)` of the source tokens that rows are mixed from; zero vectors get no weight.
            source_ids: int64 `(o,)`, the source ids of the keys.
            source_size: Number of source ids.
        """
        queries, keys = queries.to(self.device), keys.to(self.device)
        match self.name:
            case "paper" | "positive":
                kind = FactoredMixture if self.name == "paper" else ClippedMixture
                return kind(unit_rows(queries).cpu(), unit_rows(keys).cpu(), source_ids.cpu())
            case "top-k":
                return top_k_softmax(queries, keys, source_ids, source_size, self.k, self.temperature)
            case _:
                return sparsemax(queries, keys, source_ids, source_size)
