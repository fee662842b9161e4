"""OFA (arXiv:2311.08849, §3): overlap copied, the rest mixed from what is nearest in multilingual vectors."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hf_xlt.arguments import refused
from hf_xlt.errors import InputError
from hf_xlt.evidence.vectors import TextVectors, read_vectors
from hf_xlt.geometry.similarity import Weighting
from hf_xlt.initializers.base import OverlapInitializer, once, paper
from hf_xlt.initializers.evidence import AnyTokenizer, Model, check_one_space, token_vectors
from hf_xlt.transport import Transport
from hf_xlt.transport.mixture import Mixture


class OFAInitializer(OverlapInitializer):
    """Copy the rows of shared tokens; mix the others from the source tokens nearest to them in multilingual vectors.

    For a target token t that the source lacks, `F_t = Σ_s softmax_s(cos(u_s, u_t) / τ) F_s` over the k source tokens
    with the largest cosines, where u is the mean vector of the words a token is part of. F are the coordinates of the
    source's rows `E = F P`, and P the primitives; a row of the target is `F_t P`. Rows of tokens without a vector are
    drawn, their coordinates that is.

    A checkpoint holds whole rows: with `factorized`, they are the products `F_t P`, of that rank, and `factorize`
    splits a table for a model that keeps the two apart.

    Args:
        vectors: Word vectors of many languages in one space, or those of the target language.
        source_vectors: Word vectors of the source language in the same space, if they are others.
        factorized: Number of coordinates, D' (the paper has 100, 200 and 400); None mixes the rows as they are.
        overlap: Which tokens are copied: one of `OVERLAPS`.
        weighting, k, temperature, device: How cosines become weights, and where; as `Weighting` takes them.

    Raises:
        InputError: If `factorized` is not a number from 1 to the width of the rows, or the tokenizer then extends the
            source's. From `transport()`, if no token of a vocabulary has a vector, or the widths of vectors differ.
    """

    citation = paper("liu2024ofa")

    def __init__(
        self,
        source: Model,
        tokenizer: AnyTokenizer,
        *,
        vectors: str | Path | TextVectors,
        source_vectors: str | Path | TextVectors | None = None,
        factorized: int | None = None,
        overlap: str = "ignore-case",
        weighting: str = "top-k",
        k: int = 10,
        temperature: float = 0.1,
        device: str = "cpu",
        **options: Any,
    ) -> None:
        self._vectors = read_vectors(vectors)
        self._source_vectors = self._vectors if source_vectors is None else read_vectors(source_vectors)
        self._weighting = Weighting(weighting, k, temperature, device)
        super().__init__(source, tokenizer, overlap=overlap, **options)
        width = self.source.weights.tensors[self.source.layout.input_name].shape[1]
        if factorized is not None and not 1 <= factorized <= width:
            raise refused("factorized", factorized, f"from 1 to {width}, the width of the source's rows")
        if factorized is not None and self.target_vocabulary.extends(self.source_vocabulary):
            raise InputError(
                "The tokenizer extends the source's, whose rows are to stay as they are; factorized they would not",
                value=factorized,
                hint="Leave factorized out.",
            )
        self.factorized = factorized
        self.label = "OFA" if factorized is None else f"OFA ({factorized})"

    @once
    def transport(self) -> Transport:
        """The operator that makes target rows out of source rows, or their coordinates; computed once."""
        return replace(super().transport(), rank=self.factorized)

    def mixture(self, rows: np.ndarray) -> Mixture:
        """The nearest source tokens."""
        keys = token_vectors("source", self._source_vectors, self.source_tokenizer)
        queries = token_vectors("target", self._vectors, self.tokenizer)
        check_one_space(keys, queries)
        ids = torch.arange(len(keys))
        return self._weighting.mix(queries[torch.from_numpy(rows)], keys, ids, self.source_vocabulary.size)
