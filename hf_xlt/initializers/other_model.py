"""Methods that make rows as another model's are made: CLP-Transfer and orthogonal matching pursuit."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_xlt.arguments import require_device, require_whole
from hf_xlt.checkpoint.checks import check_finite, rows_of_ids
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.files.printable import tell
from hf_xlt.geometry.matching_pursuit import matching_pursuit
from hf_xlt.geometry.similarity import Weighting
from hf_xlt.initializers.base import OverlapInitializer, paper, unknown_tokens
from hf_xlt.initializers.evidence import Model
from hf_xlt.transport.mixture import Mixture, SparseMixture


class ModelInitializer(OverlapInitializer):
    """An `OverlapInitializer` of the rows of another model, of any architecture, whose tokenizer is the target's."""

    def __init__(self, source: Model, model: Model, *, ignore_case: bool = False, **options: Any) -> None:
        self.model = Checkpoint.open(model, trust_remote_code=options.get("trust_remote_code", False))
        tokenizer = self.model.tokenizer()
        super().__init__(source, tokenizer, overlap="ignore-case" if ignore_case else "exact", **options)
        for notice in unknown_tokens(self.model, tokenizer):
            tell(self.model.name, notice)
        check_finite(self._model_rows, f"the embedding table of {self.model.name}")

    @cached_property
    def _model_rows(self) -> Tensor:
        """Its rows by the ids of the target, zero for tokens that it has none for."""
        return self.fitted.rows(rows_of_ids(self.model.input_rows(), self.fitted.former_size))


class CLPInitializer(ModelInitializer):
    """CLP-Transfer (arXiv:2301.09626, §3.1): shared rows are copied, others mixed by similarity in a small model.

    For a target token t that the source lacks, over the shared tokens O, `E_t = Σ_o w(t,o) E_o / Σ_o w(t,o)`, where
    w comes from the cosines of the helper's input embeddings. The target model gets the helper's tokenizer. InputError
    is raised if no token is shared or the helper's rows are not finite.

    The reference code matches tokens by their raw strings, which leaves byte-level and SentencePiece vocabularies
    with hardly any overlap, keeps the source's output head, its special ids and float64 rows; here tokens match by
    the text they stand for, and head, bias, ids and dtype follow.

    Args:
        helper: Small model of the target language, of any architecture.
        weighting: `paper`: the cosines as they are, over all of O, in closed form; `positive`: negative ones set to
            zero; `top-k`: softmax of the k largest over a temperature; `sparsemax`: their sparsemax (CLP+).
        k, temperature: For `top-k`: number of tokens in a row, and what cosines are divided by.
        ignore_case: Whether tokens that differ in case only count as shared where there is no exact match.
    """

    citation = paper("ostendorff2023clp")

    def __init__(
        self,
        source: Model,
        helper: Model,
        weighting: str = "paper",
        *,
        k: int = 10,
        temperature: float = 0.1,
        ignore_case: bool = False,
        **options: Any,
    ) -> None:
        self._weighting = Weighting(weighting, k, temperature)
        super().__init__(source, helper, ignore_case=ignore_case, **options)
        self.label = f"CLP ({weighting})"
        self.helper = self.model

    def mixture(self, rows: np.ndarray) -> Mixture:
        """Rows for what the helper has and the source lacks (paper, eq. 1 and 2)."""
        return self._from_shared(self._weighting, self._model_rows, rows)


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
