"""CLP-Transfer: a token is mixed of what its neighbors in a small model of the target language are in the source."""

from typing import Any

import numpy as np

from hf_xlt.geometry.similarity import Weighting
from hf_xlt.initializers.base import ModelInitializer, paper
from hf_xlt.initializers.evidence import Model
from hf_xlt.transport.mixture import Mixture


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
