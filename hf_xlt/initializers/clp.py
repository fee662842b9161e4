"""CLP-Transfer: overlap copied, the rest mixed by similarity in a small target-language helper model.

Ostendorff & Rehm 2023, "Efficient Language Model Training through Cross-Lingual and Progressive Transfer Learning",
arXiv:2301.09626, §3.1.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.rows import check_finite, rows_of_ids
from hf_xlt.geometry.weighting import Weighting
from hf_xlt.initializers.base import open_checkpoint, tell, unknown_tokens
from hf_xlt.initializers.overlap import OverlapInitializer
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


class CLPInitializer(OverlapInitializer):
    """Copy the rows of tokens that source and helper share; mix the others after the helper's geometry.

    For a target token t that the source lacks, over the shared tokens O, `E_t = Σ_o w(t,o) E_o / Σ_o w(t,o)`, where
    w comes from the cosines of the helper's input embeddings. The target model gets the helper's tokenizer.

    The reference code matches tokens by their raw strings, which leaves byte-level and SentencePiece vocabularies
    with hardly any overlap, keeps the source's output head, its special ids and float64 rows; here tokens match by
    the text they stand for, and head, bias, ids and dtype follow.

    Args:
        source: Source checkpoint: Hub id, folder or `Checkpoint`.
        helper: Small model of the target language, of any architecture: Hub id, folder or `Checkpoint`.
        weighting: `paper`: the cosines as they are, over all of O, in closed form; `positive`: negative ones set to
            zero; `top-k`: softmax of the k largest over a temperature; `sparsemax`: their sparsemax (CLP+).
        k: Number of tokens in a row, for `top-k`.
        temperature: What cosines are divided by, for `top-k`.
        ignore_case: Whether tokens that differ in case only count as shared where there is no exact match.
        **options: As `Initializer` takes them: `pad_to_multiple_of`, `seed`, `trust_remote_code`.

    Raises:
        InputError: If a checkpoint cannot be opened, has no tokenizer or one that does not fit it, if no token is
            shared, if the helper's rows are not finite, or the weighting is unknown.
    """

    method = "clp"
    citation = CITATION

    def __init__(
        self,
        source: str | Path | Checkpoint,
        helper: str | Path | Checkpoint,
        weighting: str = "paper",
        *,
        k: int = 10,
        temperature: float = 0.1,
        ignore_case: bool = False,
        trust_remote_code: bool = False,
        **options: Any,
    ) -> None:
        self._weighting = Weighting(weighting, k, temperature)
        self.weighting = weighting
        self.k = k
        self.temperature = temperature
        self.ignore_case = ignore_case
        self.helper = open_checkpoint(helper, trust_remote_code)
        tokenizer = self.helper.tokenizer()
        super().__init__(
            source,
            tokenizer,
            overlap="ignore-case" if ignore_case else "exact",
            trust_remote_code=trust_remote_code,
            **options,
        )
        for notice in unknown_tokens(self.helper, tokenizer):
            tell(self.helper.name, notice)
        check_finite(self._helper_rows, f"the embedding table of the helper {self.helper.name}")

    @property
    def label(self) -> str:
        """`CLP (paper)` and so on."""
        return f"CLP ({self.weighting})"

    @cached_property
    def _helper_rows(self) -> Tensor:
        return self.fitted.rows(rows_of_ids(self.helper.input_rows(), self.fitted.former_size))

    def _mixture(self) -> Mixture:
        """Rows for what the helper has and the source lacks (paper, eq. 1 and 2)."""
        missing = self._helper_rows[torch.from_numpy(self._overlap.missing_ids)]
        shared = self._helper_rows[torch.from_numpy(self._overlap.target_ids)]
        source_ids = torch.from_numpy(self._overlap.source_ids)
        return self._weighting.mix(missing, shared, source_ids, self.source_vocabulary.size)

    def _card_evidence(self) -> dict[str, Any]:
        return {"helper": self.helper.pinned_name}
