"""OFA: overlap copied, the rest mixed from the nearest source tokens in multilingual vectors; factorised embeddings.

Liu, Lin, Wang & Schütze 2024, "OFA: A Framework of Initializing Unseen Subword Embeddings for Efficient Large-scale
Multilingual Continued Pretraining", arXiv:2311.08849, §3.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import require_device
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError
from hf_xlt.evidence.vectors.subword import TextVectors
from hf_xlt.geometry.weighting import Weighting
from hf_xlt.initializers.missing import missing_evidence
from hf_xlt.initializers.overlap import OverlapInitializer
from hf_xlt.initializers.subwords import some_tokens
from hf_xlt.transport import Transport
from hf_xlt.transport.mixture import Mixture
from hf_xlt.transport.transport import factorize

__all__ = ["OFAInitializer", "factorize"]

CITATION = """\
@inproceedings{liu2024ofa,
  title = {{OFA}: A Framework of Initializing Unseen Subword Embeddings for Efficient Large-scale Multilingual Continued
           Pretraining},
  author = {Liu, Yihong and Lin, Peiqin and Wang, Mingyang and Sch{\\"u}tze, Hinrich},
  booktitle = {Findings of the Association for Computational Linguistics: NAACL 2024},
  year = {2024},
  eprint = {2311.08849},
  archivePrefix = {arXiv},
}"""


class OFAInitializer(OverlapInitializer):
    """Copy the rows of shared tokens; mix the others from the source tokens nearest to them in multilingual vectors.

    For a target token t that the source lacks, `F_t = Σ_s softmax_s(cos(u_s, u_t) / τ) F_s` over the k source tokens
    with the largest cosines, where u is the mean vector of the words a token is part of. F are the coordinates of the
    source's rows `E = F P`, and P the primitives; a row of the target is `F_t P`. Rows of tokens without a vector are
    drawn, their coordinates that is.

    A checkpoint holds whole rows: with `factorised`, they are the products `F_t P`, of that rank, and `factorize`
    splits a table for a model that keeps the two apart.

    Args:
        source: The source checkpoint: a Hub id, a folder, or an open `Checkpoint`.
        tokenizer: The target tokenizer.
        vectors: Word vectors of many languages in one space, or those of the target language.
        source_vectors: Word vectors of the source language in the same space, if they are others.
        factorised: Number of coordinates, D' (the paper has 100, 200 and 400); None mixes the rows as they are.
        overlap: Which tokens are copied: one of `OVERLAPS`.
        weighting: How cosines become weights: one of `WEIGHTINGS`; see `Weighting`.
        k: Number of tokens in a row, for `top-k`.
        temperature: What cosines are divided by, for `top-k`: τ.
        device: Where similarities are computed, such as `cuda`.
        **options: As `Initializer` takes them: `pad_to_multiple_of`, `seed`, `trust_remote_code`.

    Raises:
        InputError: If vectors are missing, `factorised` is not a number from 1 to the width of the rows or the target
            tokenizer extends the source's, the source cannot be opened, no token is shared, or the overlap or the
            weighting is unknown. From `transport()`, if no token of a vocabulary has a vector, or the widths of vectors
            differ.
    """

    method = "ofa"
    citation = CITATION

    def __init__(
        self,
        source: str | Path | Checkpoint,
        tokenizer: PreTrainedTokenizerBase,
        *,
        vectors: TextVectors | None = None,
        source_vectors: TextVectors | None = None,
        factorised: int | None = None,
        overlap: str = "ignore-case",
        weighting: str = "top-k",
        k: int = 10,
        temperature: float = 0.1,
        device: str = "cpu",
        **options: Any,
    ) -> None:
        if vectors is None:
            raise missing_evidence("ofa", "word vectors of both languages in one space", "--vectors")
        self._vectors = vectors
        self._source_vectors = source_vectors or self._vectors
        self._weighting = Weighting(weighting, k, temperature)
        require_device("device", device)
        self.device = device
        super().__init__(source, tokenizer, overlap=overlap, **options)
        width = self.source.weights.tensors[self.source.layout.input_name].shape[1]
        if factorised is not None and not 1 <= factorised <= width:
            raise InputError(f"factorised is {factorised}; expected from 1 to {width}, the width of the source's rows.")
        if factorised is not None and self.target_vocabulary.extends(self.source_vocabulary):
            raise InputError(
                "The tokenizer extends the source's, whose rows are to stay as they are; factorised they would not. "
                "Leave factorised out."
            )
        self.factorised = factorised

    @property
    def label(self) -> str:
        """`OFA (200)` with 200 coordinates, `OFA` without factorisation."""
        return "OFA" if self.factorised is None else f"OFA ({self.factorised})"

    @cached_property
    def _transport(self) -> Transport:
        whole = self._make_transport(self._overlap, self._mixture() if len(self._overlap.missing_ids) else None)
        return replace(whole, rank=self.factorised)

    def _mixture(self) -> Mixture:
        keys = some_tokens("source", self._source_vectors, self.source_tokenizer)
        queries = some_tokens("target", self._vectors, self.tokenizer)
        if keys.shape[1] != queries.shape[1]:
            raise InputError(
                f"The vectors of source and target are {keys.shape[1]} and {queries.shape[1]} wide; expected vectors "
                "in one space: align them first, or take wechsel, which does."
            )
        queries = queries[torch.from_numpy(self._overlap.missing_ids)]
        ids = torch.arange(len(keys))
        return self._weighting.mix(queries.to(self.device), keys.to(self.device), ids, self.source_vocabulary.size)
