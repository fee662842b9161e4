"""Orthogonal matching pursuit: what a donor model's row is made of in its shared tokens, the source's row is made of.

Goddard & Fernandes Neto 2025, "Training-Free Tokenizer Transplantation via Orthogonal Matching Pursuit",
arXiv:2506.06607, §3.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hf_xlt.arguments import require_device
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.rows import check_finite, rows_of_ids
from hf_xlt.errors import InputError
from hf_xlt.geometry.matching_pursuit import matching_pursuit
from hf_xlt.initializers.base import open_checkpoint, tell, unknown_tokens
from hf_xlt.initializers.missing import missing_evidence
from hf_xlt.initializers.overlap import OverlapInitializer
from hf_xlt.transport.mixture import SparseMixture

CITATION = """\
@misc{goddard2025omp,
  title = {Training-Free Tokenizer Transplantation via Orthogonal Matching Pursuit},
  author = {Goddard, Charles and Fernandes Neto, Fernando},
  year = {2025},
  eprint = {2506.06607},
  archivePrefix = {arXiv},
}"""


class OMPInitializer(OverlapInitializer):
    """Copy the rows of tokens that source and donor share; make those of the others as the donor's are made.

    The donor's row of a token t that the source lacks is approximated by k of its rows of shared tokens,
    `D_t ≈ Σ_j c_j D_j`, by orthogonal matching pursuit; the row of the target is `E_t = Σ_j c_j E_j`. Coefficients may
    be negative and do not sum to one. The target model gets the donor's tokenizer.

    Args:
        source: The source checkpoint: a Hub id, a folder, or an open `Checkpoint`.
        donor: A model with the wanted tokenizer, of any architecture: Hub id, folder or `Checkpoint`.
        k: Number of tokens in a row, at most.
        ignore_case: Whether tokens that differ in case only count as shared where there is no exact match.
        device: Where the pursuit runs, such as `cuda`.
        **options: As `Initializer` takes them: `pad_to_multiple_of`, `seed`, `trust_remote_code`.

    Raises:
        InputError: If the donor is missing, a checkpoint cannot be opened, has no tokenizer or one that does not fit
            it, if no token is shared, the donor's rows are not finite, or k is not positive.
    """

    method = "omp"
    citation = CITATION

    def __init__(
        self,
        source: str | Path | Checkpoint,
        donor: str | Path | Checkpoint | None = None,
        k: int = 64,
        *,
        ignore_case: bool = False,
        device: str = "cpu",
        trust_remote_code: bool = False,
        **options: Any,
    ) -> None:
        if donor is None:
            raise missing_evidence("omp", "a donor checkpoint", "--donor")
        if k < 1:
            raise InputError(f"k is {k}; expected at least 1, the number of tokens that a row is made of.")
        self.k = k
        require_device("device", device)
        self.device = device
        self.donor = open_checkpoint(donor, trust_remote_code)
        tokenizer = self.donor.tokenizer()
        super().__init__(
            source,
            tokenizer,
            overlap="ignore-case" if ignore_case else "exact",
            trust_remote_code=trust_remote_code,
            **options,
        )
        for notice in unknown_tokens(self.donor, tokenizer):
            tell(self.donor.name, notice)
        check_finite(self._donor_rows, f"the embedding table of the donor {self.donor.name}")

    @property
    def label(self) -> str:
        """`OMP (64)` and so on."""
        return f"OMP ({self.k})"

    @cached_property
    def _donor_rows(self) -> Tensor:
        return self.fitted.rows(rows_of_ids(self.donor.input_rows(), self.fitted.former_size))

    def _mixture(self) -> SparseMixture:
        rows = self._donor_rows.to(self.device)
        wanted = self._overlap.missing_ids, self._overlap.target_ids
        signals, atoms = (rows[torch.from_numpy(ids).to(self.device)] for ids in wanted)
        taken, coefficients = (found.cpu() for found in matching_pursuit(signals, atoms, self.k))
        used = coefficients != 0
        crow = torch.cat([torch.zeros(1, dtype=torch.int64), used.sum(1).cumsum(0)])
        source_ids = torch.from_numpy(self._overlap.source_ids)[taken[used]]
        return SparseMixture(crow, source_ids, coefficients[used], self.source_vocabulary.size)
