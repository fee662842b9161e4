"""RAMEN (arXiv:2002.07306, §3): translation probabilities from parallel text or from aligned vectors."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_xlt.arguments import require_one_of
from hf_xlt.evidence.alignment import MODELS, SYMMETRIZATIONS, WordAligner
from hf_xlt.evidence.counting import link_counts
from hf_xlt.evidence.counts import TokenCounts
from hf_xlt.evidence.token_ids import token_pairs
from hf_xlt.evidence.translations import ParallelText, read_parallel
from hf_xlt.evidence.vectors import TextVectors
from hf_xlt.geometry.similarity import sparsemax
from hf_xlt.initializers.base import OverlapInitializer, once, paper
from hf_xlt.initializers.counted import CountedInitializer
from hf_xlt.initializers.evidence import AnyTokenizer, Model, Places, check_one_space, source_table, target_table
from hf_xlt.transport.mixture import Mixture


class RamenInitializer(CountedInitializer):
    """Mix source tokens with the probabilities that they translate a token, from the word links of parallel text.

    `E_f = Σ_e P(e|f) E_e` and, for an output bias, `b_f = Σ_e P(e|f) b_e`, where `P(e|f) = count(f,e) / Σ count(f,·)`
    over the symmetrized links of both models' own subwords. Special tokens are copied, tokens without a link drawn.

    The reference code draws rows without a link from N(0, 1/d) with zero biases; here they are drawn as in all methods,
    from the mean and deviation of the source's rows, so that their scale fits the body.

    Args:
        parallel: Sentences of the source language and their translations.
        aligner: Word alignment model, as `WordAligner.train` takes it; the paper's is `ibm2` (fast_align).
        symmetrization: How the links of both directions are combined, as `WordAligner.align` takes it.
    """

    label = "RAMEN (parallel text)"
    citation = paper("tran2020ramen")

    def __init__(
        self,
        source: Model,
        tokenizer: AnyTokenizer,
        *,
        parallel: Places | ParallelText,
        aligner: str = "hmm",
        symmetrization: str = "grow-diag-final-and",
        **options: Any,
    ) -> None:
        require_one_of("aligner", aligner, MODELS)
        require_one_of("symmetrization", symmetrization, SYMMETRIZATIONS)
        self.parallel = read_parallel(parallel)
        super().__init__(source, tokenizer, **options)
        self.aligner = aligner
        self.symmetrization = symmetrization

    @once
    def evidence(self) -> dict[str, TokenCounts]:
        """The counts of links."""
        text = self.parallel
        pairs = token_pairs(text.pairs, self.source_tokenizer, self.tokenizer, text.lines)
        links = WordAligner.train(pairs, self.aligner).align(pairs, self.symmetrization)
        return {"links": link_counts(pairs, links, self.shape)}


class RamenVectorsInitializer(OverlapInitializer):
    """Mix source tokens by how near their vectors are, without parallel text: `P(·|f) = sparsemax_e cos(u_f, u_e)`.

    The paper's vectors `u` are those of words in a common space, averaged over the words that contain a subword with
    weights of 1/rank. Special tokens are copied, tokens without a vector drawn.

    Args:
        vectors: Word vectors of the target language; or `(V_t, k)`, a vector for each target id, zero where there is
            none.
        source_vectors: The same of the source language, in the same space.
        overlap: Which tokens are copied, as `OverlapInitializer` takes it; the paper copies special tokens alone.

    Raises:
        InputError: If vectors are too few, of different widths, all zero on a side, or not finite.
    """

    label = "RAMEN (vectors)"
    citation = RamenInitializer.citation

    def __init__(
        self,
        source: Model,
        tokenizer: AnyTokenizer,
        *,
        vectors: str | Path | TextVectors | Tensor,
        source_vectors: str | Path | TextVectors | Tensor,
        overlap: str = "none",
        **options: Any,
    ) -> None:
        super().__init__(source, tokenizer, overlap=overlap, **options)
        self._target_vectors = target_table(vectors, self.fitted)
        self._source_vectors = source_table(source_vectors, self.source_tokenizer)
        check_one_space(self._source_vectors, self._target_vectors)

    def mixture(self, rows: np.ndarray) -> Mixture:
        """The sparsemax of cosines to all ordinary source tokens."""
        ordinary = torch.tensor(sorted(self.source_vocabulary.forms))
        queries = self._target_vectors[torch.from_numpy(rows)]
        return sparsemax(queries, self._source_vectors[ordinary], ordinary, self.source_vocabulary.size)
