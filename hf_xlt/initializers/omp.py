"""Orthogonal matching pursuit: what a donor model's row is made of in its shared tokens, the source's row is made of.

Goddard & Fernandes Neto 2025, "Training-Free Tokenizer Transplantation via Orthogonal Matching Pursuit",
arXiv:2506.06607, §3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hf_xlt.arguments import require_device, require_whole
from hf_xlt.geometry.matching_pursuit import matching_pursuit
from hf_xlt.initializers.base import ModelInitializer
from hf_xlt.initializers.evidence import Model
from hf_xlt.transport.mixture import SparseMixture

CITATION = """\
@misc{goddard2025omp,
  title = {Training-Free Tokenizer Transplantation via Orthogonal Matching Pursuit},
  author = {Goddard, Charles and Fernandes Neto, Fernando},
  year = {2025},
  eprint = {2506.06607},
  archivePrefix = {arXiv},
}"""


class OMPInitializer(ModelInitializer):
    """Copy the rows of tokens that source and donor share; make those of the others as the donor's are made.

    The donor's row of a token t that the source lacks is approximated by k of its rows of shared tokens,
    `D_t ≈ Σ_j c_j D_j`, by orthogonal matching pursuit; the row of the target is `E_t = Σ_j c_j E_j`. Coefficients may
    be negative and do not sum to one. The target model gets the donor's tokenizer.

    Args:
        source: The source checkpoint.
        donor: A model with the wanted tokenizer, of any architecture.
        k: Number of tokens in a row, at most.
        ignore_case: Whether tokens that differ in case only count as shared where there is no exact match.
        device: Where the pursuit runs, such as `cuda`.
        **options: As `Initializer` takes them.

    Raises:
        InputError: If a checkpoint cannot be opened, has no tokenizer or one that does not fit
            it, if no token is shared, the donor's rows are not finite, or k is not positive.
    """

    citation = CITATION

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
        self.k = k
        require_device("device", device)
        self.device = device
        super().__init__(source, donor, ignore_case=ignore_case, **options)

    @property
    def label(self) -> str:
        """`OMP (64)` and so on."""
        return f"OMP ({self.k})"

    def mixture(self, rows: np.ndarray) -> SparseMixture:
        """The coefficients that the donor's rows have."""
        table = self._model_rows.to(self.device)
        signals, atoms = (table[torch.from_numpy(ids).to(self.device)] for ids in (rows, self._overlap.target_ids))
        taken, coefficients = (found.cpu() for found in matching_pursuit(signals, atoms, self.k))
        used = coefficients != 0
        crow = torch.cat([torch.zeros(1, dtype=torch.int64), used.sum(1).cumsum(0)])
        source_ids = torch.from_numpy(self._overlap.source_ids)[taken[used]]
        return SparseMixture(crow, source_ids, coefficients[used], self.source_vocabulary.size)
