"""An embedding space, and two of them laid on one another; rows are mapped from the right, `rows @ map`."""

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_xlt.arguments import require_finite, require_ids
from hf_xlt.errors import InputError
from hf_xlt.geometry.similarity import unit_rows
from hf_xlt.transport.mixture import ProjectedMixture

# A row this much shorter than the typical one is the mark of a word without a vector (fastText writes 1e-8), not one.
NO_VECTOR = 1e-4


@dataclass(frozen=True, eq=False)
class Space:
    """Rows scaled to length one, centered, and scaled to length one again."""

    rows: Tensor  # float32 `(V, d)`; zero where the table has no vector
    order: Tensor  # int64 `(n,)`, the rows to learn from, most frequent first; all have a vector
    lengths: Tensor  # float32 `(n,)`, lengths of those rows in the table
    mean: Tensor  # float32 `(d,)`, what centering took away
    distances: Tensor  # float32 `(V,)`, how far each row was from the mean, as a unit row

    @classmethod
    def of(cls, name: str, vectors: Tensor, order: Tensor) -> Self:
        """Normalize a table `(V, d)` of any float dtype, named so in messages; rows of no length have no vector.

        The order is int64, ids by falling frequency, each once: those to learn from, so without special tokens.
        """
        require_finite(name, vectors)
        vectors = vectors.detach().to(torch.float32)
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        require_ids(f"{name}_order", order, len(vectors))
        if len(order.unique()) < len(order):
            raise InputError(f"{name}_order names an id twice", expected="each once, the most frequent first")
        order = order.to(vectors.device)
        placed = lengths > NO_VECTOR * lengths[lengths > 0].median() if lengths.any() else lengths > 0
        order = order[placed[order]]
        if not len(order):
            raise InputError(
                f"None of the {name} words to learn from has a vector", expected="some", hint="Check ids and table."
            )
        rows = unit_rows(vectors)
        mean = rows[order].mean(0)
        rows.sub_(mean).mul_(placed[:, None])
        return cls(unit_rows(rows), order, lengths[order], mean, torch.linalg.vector_norm(rows, dim=1))

    def __repr__(self) -> str:
        return f"Space({len(self.rows):,} rows, {self.rows.shape[1]} wide; {len(self.order):,} to learn from)"

    def frequent(self, count: int) -> Tensor:
        """The rows `(≤ count, d)` of the most frequent words, in order."""
        return self.rows[self.order[:count]]

    def ranks(self) -> Tensor:
        """Int64 `(V,)`: each row's place in the order; −1 where it has none."""
        ranks = torch.full((len(self.rows),), -1, device=self.rows.device)
        ranks[self.order] = torch.arange(len(self.order), device=self.rows.device)
        return ranks


def procrustes(rows: Tensor, images: Tensor) -> Tensor:
    """The orthogonal map `W` that minimizes `‖rows W − images‖`: `W = UVᵀ` with `U S Vᵀ = svd(rowsᵀ images)`.

    Rows are `(…, p, k)` and images `(…, p, d)`, with leading dimensions for a stack of problems; the map is `(…, k,
    d)`, computed in float64. Where the widths differ it has orthonormal rows (k < d) or columns (k > d): the nearest
    such map in the sense of the largest `tr((rows W)ᵀ images)`.
    """
    if rows.shape[:-1] != images.shape[:-1] or not rows.shape[-2]:
        raise InputError(
            f"Cannot map rows {tuple(rows.shape)} to {tuple(images.shape)}",
            expected="as many of one as of the other, and at least one pair",
            hint="Check the dictionary.",
        )
    left, _, right = torch.linalg.svd(rows.mT.double() @ images.double(), full_matrices=False)
    return (left @ right).to(images.dtype)


_PARTS = 100


@dataclass(frozen=True, eq=False)
class Alignment:
    """A map from the target's space into the source's."""

    source: Space  # the space that is led to
    target: Space  # the space that is mapped, `target.rows @ map`
    map: Tensor  # float32 `(k, d)`, orthogonal (with orthonormal rows or columns where `k` and `d` differ)
    criterion: float  # mean cosine of the target's frequent words, mapped, and their CSLS matches in the source
    chance: float  # the same where nothing can match: what refinement makes out of a target without its structure
    history: tuple[float, ...]  # the criterion before each refinement and after the last
    pairs: Tensor  # int64 `(p, 2)`, target and source ids that are each other's best match
    # share of dictionary entries kept from the first map whose translation the map finds; None without a dictionary
    held_out: float | None = None

    def __repr__(self) -> str:
        held_out = "" if self.held_out is None else f", {self.held_out:.0%} of held-out entries found"
        figures = (
            f"criterion {self.criterion:.3f}, chance {self.chance:.3f}, confidence {self.confidence:.2f}{held_out}"
        )
        return f"Alignment({tuple(self.map.shape)} map, {len(self.pairs):,} mutual matches: {figures})"

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
        """Rows for the source model: normalization undone in the source's way, lengths as the source's.

        A mapped row is moved as far from the source's mean as it was from the target's, relative to what is usual in
        either, and made as long as the source's rows of the same relative frequency are on average: in many models rare
        words are longer than frequent ones. Words outside the target's order count as the rarest. The mean is the last
        row of the mixture's map. An id without a vector gets a zero row, which is not `finite`.
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
