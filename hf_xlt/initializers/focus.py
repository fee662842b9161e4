"""FOCUS: overlap copied, the rest mixed from the overlap by similarity of static vectors of the target's tokens.

Dobler & de Melo 2023, "FOCUS: Effective Embedding Initialization for Monolingual Specialization of Multilingual
Models", arXiv:2305.14481, §3.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import require_device, require_finite
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError
from hf_xlt.geometry.weighting import Weighting
from hf_xlt.initializers.missing import missing_evidence
from hf_xlt.initializers.overlap import OverlapInitializer
from hf_xlt.transport.mixture import Mixture

CITATION = """\
@inproceedings{dobler2023focus,
  title = {FOCUS: Effective Embedding Initialization for Monolingual Specialization of Multilingual Models},
  author = {Dobler, Konstantin and de Melo, Gerard},
  booktitle = {Proceedings of the 2023 Conference on Empirical Methods in Natural Language Processing},
  year = {2023},
  eprint = {2305.14481},
  archivePrefix = {arXiv},
}"""


class FocusInitializer(OverlapInitializer):
    """Copy the rows of shared tokens; mix those of the others from them, as their static vectors say.

    For a target token t that the source lacks, `E_t = Σ_o sparsemax_o(cos(f_t, f_o)) E_o` over the shared tokens o that
    have a vector, where f are static vectors trained on text in the target language, tokenised by the target tokenizer.
    The reference code leaves the vectors of rare shared tokens out of the mixture, and special tokens that are spelled
    otherwise undone; here every shared token with a vector counts, and special tokens are copied by role.

    Args:
        source: The source checkpoint: a Hub id, a folder, or an open `Checkpoint`.
        tokenizer: The target tokenizer.
        vectors: Static vectors `(V_t, k)` of the target's tokens; zero rows for tokens without one, whose rows are
            drawn.
        ignore_case: Whether tokens that differ in case only count as shared where there is no exact match.
        weighting: How cosines become weights: one of `WEIGHTINGS`; see `Weighting`.
        k: Number of tokens in a row, for `top-k`.
        temperature: What cosines are divided by, for `top-k`.
        device: Where similarities are computed, such as `cuda`.
        **options: As `Initializer` takes them: `pad_to_multiple_of`, `seed`, `trust_remote_code`.

    Raises:
        InputError: If there are no vectors, they do not fit the tokenizer, hold NaN or infinity, or none is that of a
            shared token; if the source cannot be opened, no token is shared, or the weighting is unknown.
    """

    method = "focus"
    citation = CITATION

    def __init__(
        self,
        source: str | Path | Checkpoint,
        tokenizer: PreTrainedTokenizerBase,
        *,
        vectors: Tensor | None = None,
        ignore_case: bool = False,
        weighting: str = "sparsemax",
        k: int = 10,
        temperature: float = 0.1,
        device: str = "cpu",
        **options: Any,
    ) -> None:
        if vectors is None:
            raise missing_evidence("focus", "static vectors of the target's tokens", "--vectors")
        self._vectors = vectors
        self._weighting = Weighting(weighting, k, temperature)
        require_device("device", device)
        self.device = device
        super().__init__(source, tokenizer, overlap="ignore-case" if ignore_case else "exact", **options)
        self._check_vectors()

    @property
    def label(self) -> str:
        """`FOCUS (sparsemax)` and so on."""
        return f"FOCUS ({self._weighting.name})"

    def _check_vectors(self) -> None:
        require_finite("vectors", self._vectors)
        if len(self._vectors) < self.fitted.former_size:
            raise InputError(
                f"The vectors are {tuple(self._vectors.shape)}; expected a row for each of the "
                f"{self.fitted.former_size} token ids, zero where a token has no vector."
            )
        self._vectors = self.fitted.rows(self._vectors)
        if not self._of(self._overlap.target_ids).any():
            raise InputError(
                f"None of the {len(self._overlap.target_ids)} tokens that source and target share has a vector; "
                "expected some: train the vectors on text tokenised by the target tokenizer, and place them by its ids."
            )

    def _of(self, ids: Any) -> Tensor:
        return self._vectors[torch.from_numpy(ids).to(self._vectors.device)].to(self.device)

    def _mixture(self) -> Mixture:
        return self._weighting.mix(
            self._of(self._overlap.missing_ids),
            self._of(self._overlap.target_ids),
            torch.from_numpy(self._overlap.source_ids),
            self.source_vocabulary.size,
        )
