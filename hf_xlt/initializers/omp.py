"""Orthogonal matching pursuit: a token is made of the source's rows as a donor model makes it of its own."""

from typing import Any

import numpy as np
import torch

from hf_xlt.arguments import require_device, require_whole
from hf_xlt.geometry.matching_pursuit import matching_pursuit
from hf_xlt.initializers.base import ModelInitializer, paper
from hf_xlt.initializers.evidence import Model
from hf_xlt.transport.mixture import SparseMixture


class OMPInitializer(ModelInitializer):
    """Orthogonal matching pursuit (arXiv:2506.06607, §3): shared rows are copied, others made as a donor model's are.

    The donor's row of a token t that the source lacks is approximated by k of its rows of shared tokens,
    `D_t ≈ Σ_j c_j D_j`, by orthogonal matching pursuit; the row of the target is `E_t = Σ_j c_j E_j`. Coefficients may
    be negative and do not sum to one. The target model gets the donor's tokenizer. InputError is raised if no token is
    shared or the donor's rows are not finite.

    Args:
        donor: A model with the wanted tokenizer, of any architecture.
        k: Number of tokens in a row, at most.
        ignore_case: Whether tokens that differ in case only count as shared where there is no exact match.
        device: Where the pursuit runs, such as `cuda`.
    """

    citation = paper("goddard2025omp")

    def __init__(
        self,
        source: Model,
        donor: Model,
        k: int = 64,
        *,
        ignore_case: bool = False,
        device: str = "cpu",
        **options: Any,
    ) -> None:
        require_whole("k", k, least=1)
        require_device("device", device)
        self.k, self.device = k, device
        self.label = f"OMP ({k})"
        super().__init__(source, donor, ignore_case=ignore_case, **options)

    def mixture(self, rows: np.ndarray) -> SparseMixture:
        """The coefficients that the donor's rows have."""
        table = self._model_rows.to(self.device)
        signals, atoms = (table[torch.from_numpy(ids).to(self.device)] for ids in (rows, self._overlap.target_ids))
        taken, coefficients = (found.cpu() for found in matching_pursuit(signals, atoms, self.k))
        places, columns = coefficients.nonzero(as_tuple=True)
        ids = torch.from_numpy(self._overlap.source_ids)[taken[places, columns]]
        values = coefficients[places, columns]
        return SparseMixture.of(places, ids, values, (len(rows), self.source_vocabulary.size))
