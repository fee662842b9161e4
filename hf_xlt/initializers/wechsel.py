"""WECHSEL: every row mixed from the source tokens nearest to it, in word vectors aligned by a dictionary.

Minixhofer, Paischer & Rekabsaz 2022, "WECHSEL: Effective initialization of subword embeddings for cross-lingual
transfer of monolingual language models", arXiv:2112.06598, §3.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hf_xlt.errors import InputError
from hf_xlt.evidence.translations import Dictionary, read_dictionary
from hf_xlt.evidence.vectors import TextVectors, read_vectors
from hf_xlt.geometry.maps import procrustes
from hf_xlt.geometry.similarity import Weighting
from hf_xlt.initializers.base import OverlapInitializer
from hf_xlt.initializers.evidence import AnyTokenizer, Model, Places, token_vectors
from hf_xlt.transport.mixture import Mixture

CITATION = """\
@inproceedings{minixhofer2022wechsel,
  title = {{WECHSEL}: Effective initialization of subword embeddings for cross-lingual transfer of monolingual language
           models},
  author = {Minixhofer, Benjamin and Paischer, Fabian and Rekabsaz, Navid},
  booktitle = {Proceedings of the 2022 Conference of the North American Chapter of the Association for Computational
               Linguistics},
  year = {2022},
  eprint = {2112.06598},
  archivePrefix = {arXiv},
}"""

WordPairs = Sequence[tuple[str, str]]


class WechselInitializer(OverlapInitializer):
    """Mix every row from the source tokens nearest to it in a space of word vectors.

    Tokens of both languages get vectors made of word vectors, u. An orthogonal map R, learned on the pairs of a
    dictionary, brings those of the source into the target's space. Then `E_t = Σ_s softmax_s(cos(R u_s, u_t) / τ) E_s`
    over the k source tokens with the largest cosines. Nothing is copied but special tokens, by their role (the paper's
    code copies those that are spelled alike, and gives the others vectors of their spelling). Rows of tokens without a
    vector are drawn.

    Args:
        source: The source checkpoint.
        tokenizer: The target tokenizer.
        source_vectors: Word vectors of the source language.
        vectors: Word vectors of the target language.
        dictionary: Source words and their translations.
        overlap: Which tokens are copied: one of `OVERLAPS`; the paper copies none.
        weighting: How cosines become weights: one of `WEIGHTINGS`; see `Weighting`.
        k: Number of tokens in a row, for `top-k`.
        temperature: What cosines are divided by, for `top-k`: τ.
        device: Where similarities are computed, such as `cuda`.
        **options: As `Initializer` takes them.

    Raises:
        InputError: As `OverlapInitializer` does, or if a file cannot be read, or the weighting is unknown. From
            `transport()`, if no entry has a vector on both sides, or no token of a vocabulary has one.
    """

    citation = CITATION

    def __init__(
        self,
        source: Model,
        tokenizer: AnyTokenizer,
        *,
        source_vectors: str | Path | TextVectors,
        vectors: str | Path | TextVectors,
        dictionary: Places | Dictionary,
        overlap: str = "none",
        weighting: str = "top-k",
        k: int = 10,
        temperature: float = 0.1,
        device: str = "cpu",
        **options: Any,
    ) -> None:
        self._source_vectors = read_vectors(source_vectors)
        self._target_vectors = read_vectors(vectors)
        self._dictionary = read_dictionary(dictionary)
        self._weighting = Weighting(weighting, k, temperature, device)
        super().__init__(source, tokenizer, overlap=overlap, **options)

    @property
    def label(self) -> str:
        """`WECHSEL (top-k)` and so on."""
        return f"WECHSEL ({self._weighting.name})"

    def mixture(self, rows: np.ndarray) -> Mixture:
        """The nearest source tokens in the target's space."""
        map_ = dictionary_map(self._source_vectors, self._target_vectors, self._dictionary.pairs)
        keys = token_vectors("source", self._source_vectors, self.source_tokenizer) @ map_
        queries = token_vectors("target", self._target_vectors, self.tokenizer)
        queries = queries[torch.from_numpy(rows)]
        ids = torch.arange(len(keys))
        return self._weighting.mix(queries, keys, ids, self.source_vocabulary.size)


def dictionary_map(source: TextVectors, target: TextVectors, dictionary: WordPairs) -> Tensor:
    """The orthogonal map `(k, d)` from source to target vectors that fits a dictionary best.

    As in the paper's code, vectors are neither scaled nor centered, and an entry counts in each pair of ways to write
    its words (as they are, in lower case, in title case) that both languages have vectors for: up to nine times.
    """
    words, translations = zip(*dictionary, strict=True)
    # The products of all pairs of an entry add up to one product: of the sums of its two sides.
    rows, images = _sums_of_cases(source, words), _sums_of_cases(target, translations)
    if not (rows.any(dim=1) & images.any(dim=1)).any():
        raise InputError(
            f"None of the {len(dictionary)} dictionary entries has a vector on both sides",
            expected="some",
            hint=(
                "Check that its columns are source and target, in this order, and that words are spelled as the "
                "vectors' are."
            ),
        )
    return procrustes(rows, images)


def _sums_of_cases(vectors: TextVectors, words: Sequence[str]) -> Tensor:
    """`(n, d)`: for each word, the sum of the vectors of the ways to write it."""
    written = [case for word in words for case in (word, word.lower(), word.title())]
    places = {word: place for place, word in enumerate(dict.fromkeys(written))}
    of_words = torch.tensor([places[word] for word in written]).view(len(words), -1)
    return F.embedding_bag(of_words, vectors.of_words(list(places)), mode="sum")
