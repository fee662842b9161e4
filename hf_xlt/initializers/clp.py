"""CLP-Transfer: overlap copied, the rest mixed by similarity in a small target-language helper model.

Ostendorff & Rehm 2023, "Efficient Language Model Training through Cross-Lingual and Progressive Transfer Learning",
arXiv:2301.09626, §3.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hf_xlt.geometry.similarity import Weighting
from hf_xlt.initializers.base import ModelInitializer
from hf_xlt.initializers.evidence import Model
from hf_xlt.transport.mixture import Mixture

CITATION = """\
@misc{ostendorff2023clp,
  title = {Efficient Language Model Training through Cross-Lingual and Progressive Transfer Learning},
  author = {Ostendorff, Malte and Rehm, Georg},
  year = {2023},
  eprint = {2301.09626},
  archivePrefix = {arXiv},
  url = {https://arxiv.org/abs/2301.09626}
}"""


class CLPInitializer(ModelInitializer):
    """Copy the rows of tokens that source and helper share; mix the others after the helper's geometry.

    For a target token t that the source lacks, over the shared tokens O, `E_t = Σ_o w(t,o) E_o / Σ_o w(t,o)`, where
    w comes from the cosines of the helper's input embeddings. The target model gets the helper's tokenizer.

    The reference code matches tokens by their raw strings, which leaves byte-level and SentencePiece vocabularies
    with hardly any overlap, keeps the source's output head, its special ids and float64 rows; here tokens match by
    the text they stand for, and head, bias, ids and dtype follow.

    Args:
        source: The source checkpoint.
        helper: Small model of the target language, of any architecture.
        weighting: `paper`: the cosines as they are, over all of O, in closed form; `positive`: negative ones set to
            zero; `top-k`: softmax of the k largest over a temperature; `sparsemax`: their sparsemax (CLP+).
        k: Number of tokens in a row, for `top-k`.
        temperature: What cosines are divided by, for `top-k`.
        ignore_case: Whether tokens that differ in case only count as shared where there is no exact match.
        **options: As `Initializer` takes them.

    Raises:
        InputError: If a checkpoint cannot be opened, has no tokenizer or one that does not fit it, if no token is
            shared, if the helper's rows are not finite, or the weighting is unknown.
    """

    citation = CITATION

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

    @property
    def label(self) -> str:
        """`CLP (paper)` and so on."""
        return f"CLP ({self._weighting.name})"

    def mixture(self, rows: np.ndarray) -> Mixture:
        """Rows for what the helper has and the source lacks (paper, eq. 1 and 2)."""
        missing = self._model_rows[torch.from_numpy(rows)]
        shared = self._model_rows[torch.from_numpy(self._overlap.target_ids)]
        source_ids = torch.from_numpy(self._overlap.source_ids)
        return self._weighting.mix(missing, shared, source_ids, self.source_vocabulary.size)

    def _card_evidence(self) -> dict[str, Any]:
        return {"helper": self.model.pinned_name}
