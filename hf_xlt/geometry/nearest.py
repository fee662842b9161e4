"""The keys nearest to each query, exactly: screened in half the precision where the processor computes that faster."""

from dataclasses import dataclass
from functools import cache, cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

_ROUNDING = 2**-8  # what bfloat16, of 8 significant bits, changes a number by at most, as a share of it
_SUMMATION = 2**-12  # what float32 loses in the sum of a row's products, generously
_CANDIDATES = 3  # a key wanted
_GROUP = 16  # keys, of which the largest cosine is looked at first
_SCORED_AT_ONCE = 128  # queries: their candidates are gathered, and stay in the cache
_SUMMED_AT_ONCE = 4096  # keys
_LEAST_SAVING = 32  # keys a candidate; with fewer, screening costs more than it saves


@dataclass(frozen=True, eq=False)
class Nearest:
    """Finds the keys with the largest cosines to queries."""

    keys: Tensor  # unit rows, float32 `(o, d)`
    k: int  # number of keys wanted; all of them where there are fewer

    def find(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines, float32 `(n, k)`, and places, int64, of the keys nearest to each unit query, nearest first."""
        if self._screen is None:
            return self._by_all_cosines(queries)
        cosines, places, sure = self._by_screening(queries, self._screen)
        if not sure.all():
            cosines[~sure], places[~sure] = self._by_all_cosines(queries[~sure])
        return cosines, places

    @property
    def width(self) -> int:
        """How many float32 numbers the scores of one query take the room of."""
        return len(self.keys) if self._screen is None else -(-len(self.keys) // 2)

    @cached_property
    def _screen(self) -> Tensor | None:
        worthwhile = _CANDIDATES * self.k * _LEAST_SAVING <= len(self.keys)
        return self.keys.bfloat16() if worthwhile and _halves_are_faster(self.keys.device.type) else None

    @cached_property
    def _key_error(self) -> Tensor:
        """The length of what rounding changes of a key, at most."""
        return torch.stack([_rounded_off(part).max() for part in self.keys.split(_SUMMED_AT_ONCE)]).max()

    def _by_all_cosines(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        cosines, places = (queries @ self.keys.T).topk(min(self.k, len(self.keys)), dim=1)
        return cosines, places

    def _by_screening(self, queries: Tensor, screen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Also whether each row is sure, bool `(n,)`: no key that is no candidate can be nearer than the last."""
        rough, candidates = _largest(queries.bfloat16() @ screen.T, _CANDIDATES * self.k)
        parts = zip(queries.split(_SCORED_AT_ONCE), candidates.split(_SCORED_AT_ONCE), strict=True)
        exact = torch.cat([F.embedding(places, self.keys).mul_(rows[:, None]).sum(2) for rows, places in parts])
        cosines, order = exact.topk(self.k, dim=1)
        beyond = rough[:, -1].float()
        error = _rounded_off(queries) * (1 + self._key_error) + self._key_error
        error += _ROUNDING * (1 + _ROUNDING) * beyond.abs() + _SUMMATION
        sure = (beyond >= 0) & (cosines[:, -1] >= beyond + error)
        return cosines, candidates.gather(1, order), sure


def _rounded_off(rows: Tensor) -> Tensor:
    """`(n,)`: the length of what rounding to bfloat16 changes of each row."""
    return torch.linalg.vector_norm(rows - rows.bfloat16(), dim=1)


def _largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """What `topk` gives of bfloat16 `(n, o)`, in less time: the k largest lie in the k groups with the largest maxima.

    Numbers are compared by their bits, as integers, which is faster and the same but among negative ones. So rows are
    right if their last score is not negative; otherwise a larger one may be missing. There are at least k groups; what
    is left over by groups of equal size is looked at anyway.
    """
    bits = scores.view(torch.int16)
    count = scores.shape[1] // _GROUP
    grouped = bits[:, : count * _GROUP].unflatten(1, (_GROUP, count))  # every count-th score: maxima of whole rows
    groups = grouped.amax(1).topk(k, dim=1, sorted=False).indices
    members = torch.arange(0, count * _GROUP, count, device=scores.device)
    left_over = torch.arange(count * _GROUP, scores.shape[1], device=scores.device).expand(len(scores), -1)
    columns = torch.cat([(groups[:, :, None] + members).flatten(1), left_over], dim=1)
    largest, order = bits.gather(1, columns).topk(k, dim=1)
    return largest.view(scores.dtype), columns.gather(1, order)


@cache
def _halves_are_faster(device: str) -> bool:
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return device == "cpu" and any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
