"""FOCUS (arXiv:2305.14481, §3): overlap copied, the rest mixed from it by similarity of the target tokens' vectors."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_xlt.errors import InputError
from hf_xlt.evidence.vectors import TextVectors
from hf_xlt.geometry.similarity import Weighting
from hf_xlt.initializers.base import OverlapInitializer, paper
from hf_xlt.initializers.evidence import AnyTokenizer, Model, target_table
from hf_xlt.transport.mixture import Mixture


class FocusInitializer(OverlapInitializer):
    """Copy the rows of shared tokens; mix those of the others from them, as their static vectors say.

    For a target token t that the source lacks, `E_t = Σ_o sparsemax_o(cos(f_t, f_o)) E_o` over the shared tokens o that
    have a vector, where f are static vectors trained on text in the target language, tokenized by the target tokenizer.
    The reference code leaves the vectors of rare shared tokens out of the mixture, and special tokens that are spelled
    otherwise undone; here every shared token with a vector counts, and special tokens are copied by role.

    Args:
        vectors: Static vectors `(V_t, k)` of the target's tokens, zero rows for tokens without one, whose rows are
            drawn; or word vectors, of which those of the tokens are made.
        ignore_case: Whether tokens that differ in case only count as shared where there is no exact match.
        weighting, k, temperature, device: How cosines become weights, and where; as `Weighting` takes them.

    Raises:
        InputError: If the vectors do not fit the tokenizer, hold NaN or infinity, or none is that of a shared token.
    """

    citation = paper("dobler2023focus")

    def __init__(
        self,
        source: Model,
        tokenizer: AnyTokenizer,
        *,
        vectors: str | Path | TextVectors | Tensor,
        ignore_case: bool = False,
        weighting: str = "sparsemax",
        k: int = 10,
        temperature: float = 0.1,
        device: str = "cpu",
        **options: Any,
    ) -> None:
        self._weighting = Weighting(weighting, k, temperature, device)
        self.label = f"FOCUS ({weighting})"
        super().__init__(source, tokenizer, overlap="ignore-case" if ignore_case else "exact", **options)
        self._vectors = target_table(vectors, self.fitted)
        if not self._vectors[torch.from_numpy(self._overlap.target_ids).to(self._vectors.device)].any():
            raise InputError(
                f"None of the {len(self._overlap.target_ids)} tokens that source and target share has a vector",
                value=vectors,
                expected="some",
                hint="Train the vectors on text tokenized by the target tokenizer, and place them by its ids.",
            )

    def mixture(self, rows: np.ndarray) -> Mixture:
        """The weighted cosines to the shared tokens."""
        return self._from_shared(self._weighting, self._vectors, rows)
