"""A dictionary for aligning two spaces: most of it gives the first map, some of it judges maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from hf_xlt.errors import InputError
from hf_xlt.geometry.csls import matches
from hf_xlt.geometry.procrustes import procrustes
from hf_xlt.geometry.similarity import unit_rows
from hf_xlt.geometry.space import Space

EVERY = 10


@dataclass(frozen=True, eq=False)
class SeedDictionary:
    """Translations with a vector on both sides.

    Attributes:
        source: The space that is led to.
        target: The space that is mapped.
        learned: int64 `(p, 2)`, target and source ids that the first map is learned from.
        held_out: int64 `(q, 2)`, every tenth entry; none of fewer than ten.
    """

    source: Space
    target: Space
    learned: Tensor
    held_out: Tensor

    @classmethod
    def of(cls, source: Space, target: Space, dictionary: Tensor) -> Self:
        """Check and split a dictionary, int64 `(p, 2)`: target and source ids.

        Raises:
            InputError: If it has another form, an id is out of range, or no entry has a vector on both sides.
        """
        known = _with_vectors(source, target, dictionary)
        kept = torch.arange(1, len(known) + 1, device=known.device) % EVERY == 0
        return cls(source, target, known[~kept], known[kept])

    def first_map(self) -> Tensor:
        """The orthogonal map `(k, d)` that leads the learned entries' targets to their sources."""
        return procrustes(self.target.rows[self.learned[:, 0]], self.source.rows[self.learned[:, 1]])

    def found(self, map_: Tensor, frequent: int) -> float | None:
        """Share of held-out targets whose source is their CSLS match among the source's most frequent words.

        None where no entry was held out, or none has a source that frequent.
        """
        candidates = self.source.order[:frequent]
        place = torch.full((len(self.source.rows),), -1, device=candidates.device)
        place[candidates] = torch.arange(len(candidates), device=candidates.device)
        entries = self.held_out[place[self.held_out[:, 1]] >= 0]
        if not len(entries):
            return None
        mapped = unit_rows(self.target.rows[entries[:, 0]] @ map_)
        right = matches(mapped, self.source.rows[candidates]).forward == place[entries[:, 1]]
        return float(right.float().mean())


def _with_vectors(source: Space, target: Space, dictionary: Tensor) -> Tensor:
    if dictionary.ndim != 2 or dictionary.shape[1] != 2 or dictionary.dtype != torch.int64:
        raise InputError(
            f"The dictionary is {dictionary.dtype} {tuple(dictionary.shape)}; expected int64 (p, 2): target and source "
            "ids of translations."
        )
    sizes = torch.tensor([len(target.rows), len(source.rows)])
    outside = ((dictionary < 0) | (dictionary >= sizes.to(dictionary))).any(dim=1).nonzero()
    if len(outside):
        raise InputError(
            f"Dictionary entry {int(outside[0])} is {dictionary[outside[0, 0]].tolist()}; expected a target id below "
            f"{sizes[0]} and a source id below {sizes[1]}, in this order."
        )
    known = target.rows[dictionary[:, 0]].any(dim=1) & source.rows[dictionary[:, 1]].any(dim=1)
    if not known.any():
        raise InputError(
            f"None of the {len(dictionary)} dictionary entries has a vector on both sides; expected some: check that "
            "its words are spelled as in the tables, or leave it out."
        )
    return dictionary[known]
