"""What aligning two spaces found, and the target's rows in the source's space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_xlt.geometry.similarity import unit_rows
from hf_xlt.geometry.space import Space
from hf_xlt.transport.mixture import ProjectedMixture

_PARTS = 100


@dataclass(frozen=True, eq=False)
class Alignment:
    """A map from the target's space into the source's.

    Attributes:
        source: The space that is led to.
        target: The space that is mapped, `target.rows @ map`.
        map: float32 `(k, d)`, orthogonal (with orthonormal rows or columns where `k` and `d` differ).
        criterion: Mean cosine of the target's frequent words, mapped, and their CSLS matches in the source.
        chance: The same where nothing can match: what refinement makes out of a target without its structure.
        history: The criterion before each refinement and after the last.
        pairs: int64 `(p, 2)`, target and source ids that are each other's best match.
        held_out: Share of dictionary entries kept from the first map whose translation the map finds; None without a
            dictionary.
    """

    source: Space
    target: Space
    map: Tensor
    criterion: float
    chance: float
    history: tuple[float, ...]
    pairs: Tensor
    held_out: float | None = None

    @property
    def confidence(self) -> float:
        """Where the criterion lies between chance, 0, and a perfect match, 1; or `held_out`, if that is more.

        Spaces of different make, such as static vectors and a model's embeddings, may be aligned well enough to
        translate and still lie at angles that the criterion cannot tell from chance.
        """
        return max((self.criterion - self.chance) / (1 - self.chance), self.held_out or 0)

    def mapped(self) -> Tensor:
        """The target's rows `(V_t, d)` beside the source's, as unit rows; zero where the target has no vector."""
        return unit_rows(self.target.rows @ self.map)

    def projection(self, ids: Tensor) -> ProjectedMixture:
        """Rows for the source model: normalisation undone in the source's way, lengths as the source's.

        A mapped row is moved as far from the source's mean as it was from the target's, relative to what is usual in
        either, and made as long as the source's rows of the same relative frequency are on average: in many models
        rare words are longer than frequent ones. Words outside the target's order count as the rarest. The mean is the
        last row of the mixture's map.

        Args:
            ids: int64 `(n,)`, target ids; one without a vector gets a zero row, which is not `finite`.
        """
        usual_source, usual_target = (space.distances[space.order].mean() for space in (self.source, self.target))
        rows = self.target.rows[ids] * self.target.distances[ids, None] * (usual_source / usual_target)
        basis = torch.cat([self.map, self.source.mean[None]])  # (k + 1, d)
        vectors = torch.cat([rows, rows.any(dim=1, keepdim=True).float()], dim=1)
        present = ((vectors @ (basis @ basis.T)) * vectors).sum(1).clamp_(min=0).sqrt()  # lengths of vectors @ basis
        scale = self._lengths()[ids] / present.masked_fill_(present == 0, 1)
        return ProjectedMixture(vectors * scale[:, None], basis)

    def _lengths(self) -> Tensor:
        """Float32 `(V_t,)`: the source's lengths, averaged in parts of its order and spread over the target's."""
        parts = F.adaptive_avg_pool1d(self.source.lengths[None, None], min(_PARTS, len(self.source.order)))
        by_rank = F.interpolate(parts, size=len(self.target.order), mode="linear")[0, 0]
        return by_rank[self.target.ranks()]  # rank −1 reads the rarest
