"""RAMEN: translation probabilities from parallel text or from aligned vectors.

Tran 2020, "From English To Foreign Languages: Transferring Pre-trained Language Models", arXiv:2002.07306, §3.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import require_finite
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError
from hf_xlt.evidence.alignment import MODELS, SYMMETRIZATIONS, WordAligner
from hf_xlt.evidence.counts import TokenCounts
from hf_xlt.evidence.links import link_counts, token_pairs
from hf_xlt.evidence.parallel import ParallelText
from hf_xlt.geometry.similarity import sparsemax
from hf_xlt.initializers.counted import CountedInitializer
from hf_xlt.initializers.missing import missing_evidence
from hf_xlt.initializers.overlap import OverlapInitializer
from hf_xlt.transport.mixture import Mixture

CITATION = """@misc{tran2020ramen,
  title = {From English To Foreign Languages: Transferring Pre-trained Language Models},
  author = {Tran, Ke},
  year = {2020},
  eprint = {2002.07306},
  archivePrefix = {arXiv},
}"""


class RamenInitializer(CountedInitializer):
    """Mix source tokens with the probabilities that they translate a token, from the word links of parallel text.

    `E_f = Σ_e P(e|f) E_e` and, for an output bias, `b_f = Σ_e P(e|f) b_e`, where `P(e|f) = count(f,e) / Σ count(f,·)`
    over the symmetrised links of both models' own subwords. Special tokens are copied, tokens without a link drawn.

    The reference code draws rows without a link from N(0, 1/d) with zero biases; here they are drawn as in all methods,
    from the mean and deviation of the source's rows, so that their scale fits the body.

    Args:
        source: Source checkpoint: Hub id, folder or `Checkpoint`.
        tokenizer: The target tokenizer.
        parallel: Sentences of the source language and their translations.
        aligner: Word alignment model, as `WordAligner.train` takes it; the paper's is `ibm2` (fast_align).
        symmetrization: How the links of both directions are combined, as `WordAligner.align` takes it.
        **options: As `Initializer` takes them: `pad_to_multiple_of`, `seed`, `trust_remote_code`.

    Raises:
        InputError: If there is no parallel text, or the alignment model or symmetrization is unknown.
    """

    method = "ramen"
    citation = CITATION

    def __init__(
        self,
        source: str | Path | Checkpoint,
        tokenizer: PreTrainedTokenizerBase,
        *,
        parallel: ParallelText | None = None,
        aligner: str = "hmm",
        symmetrization: str = "grow-diag-final-and",
        **options: Any,
    ) -> None:
        if parallel is None:
            raise missing_evidence(self.method, "parallel text", "--parallel")
        if aligner not in MODELS or symmetrization not in SYMMETRIZATIONS:
            raise InputError(
                f"Unknown alignment {aligner!r}, {symmetrization!r}; choose one of {', '.join(MODELS)} and one of "
                f"{', '.join(SYMMETRIZATIONS)}."
            )
        super().__init__(source, tokenizer, **options)
        self.parallel = parallel
        self.aligner = aligner
        self.symmetrization = symmetrization

    @property
    def label(self) -> str:
        """`RAMEN (parallel text)`."""
        return "RAMEN (parallel text)"

    @cached_property
    def _links(self) -> TokenCounts:
        pairs = token_pairs(self.parallel.pairs, self.source_tokenizer, self.tokenizer, self.parallel.lines)
        links = WordAligner.train(pairs, self.aligner).align(pairs, self.symmetrization)
        return link_counts(pairs, links, self.shape)

    def evidence(self) -> dict[str, TokenCounts]:
        """The counts of links."""
        return {"links": self._links}


class RamenVectorsInitializer(OverlapInitializer):
    """Mix source tokens by how near their vectors are, without parallel text: `P(·|f) = sparsemax_e cos(u_f, u_e)`.

    The paper's vectors `u` are those of words in a common space, averaged over the words that contain a subword with
    weights of 1/rank. Special tokens are copied, tokens without a vector drawn.

    Args:
        source: Source checkpoint: Hub id, folder or `Checkpoint`.
        tokenizer: The target tokenizer.
        target_vectors: `(V_t, k)`, a vector for each target id in the common space; zero where there is none.
        source_vectors: `(V_s, k)`, the same for the source ids.
        overlap: Which tokens are copied, as `OverlapInitializer` takes it; the paper copies special tokens alone.
        **options: As `Initializer` takes them: `pad_to_multiple_of`, `seed`, `trust_remote_code`.

    Raises:
        InputError: If vectors are missing, too few, of different widths, all zero on a side, or not finite.
    """

    method = "ramen-vectors"
    citation = CITATION

    def __init__(
        self,
        source: str | Path | Checkpoint,
        tokenizer: PreTrainedTokenizerBase,
        *,
        target_vectors: Tensor | None = None,
        source_vectors: Tensor | None = None,
        overlap: str = "none",
        **options: Any,
    ) -> None:
        if target_vectors is None:
            raise missing_evidence(self.method, "vectors of the target language", "--vectors")
        if source_vectors is None:
            raise missing_evidence(self.method, "vectors of the source language", "--source-vectors")
        super().__init__(source, tokenizer, overlap=overlap, **options)
        require_finite("target_vectors", target_vectors)
        width = target_vectors.shape[1]
        _check_vectors("target", target_vectors, self.fitted.former_size, width)
        _check_vectors("source", source_vectors, self.source_vocabulary.size, width)
        self._target_vectors = self.fitted.rows(target_vectors)
        self._source_vectors = source_vectors

    @property
    def label(self) -> str:
        """`RAMEN (vectors)`."""
        return "RAMEN (vectors)"

    def _mixture(self) -> Mixture:
        missing = torch.from_numpy(self.overlap().missing_ids)
        ordinary = torch.tensor(sorted(self.source_vocabulary.forms))
        return sparsemax(
            self._target_vectors[missing], self._source_vectors[ordinary], ordinary, self.source_vocabulary.size
        )


def _check_vectors(side: str, vectors: Tensor, size: int, width: int) -> None:
    require_finite(f"{side}_vectors", vectors)
    if len(vectors) < size or vectors.shape[1] != width or not vectors.any():
        raise InputError(
            f"The {side} vectors are {tuple(vectors.shape)}; expected ({size}, {width}), one for each token id and not "
            "all zero: train or read them for this tokenizer."
        )
