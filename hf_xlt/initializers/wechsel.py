"""WECHSEL (arXiv:2112.06598, §3): rows mixed from the nearest source tokens, in vectors aligned by a dictionary."""

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
from hf_xlt.geometry.similarity import Weighting
from hf_xlt.geometry.space import procrustes
from hf_xlt.initializers.base import OverlapInitializer, paper
from hf_xlt.initializers.evidence import AnyTokenizer, Model, Places, token_vectors
from hf_xlt.transport.mixture import Mixture


class WechselInitializer(OverlapInitializer):
    """Mix every row from the source tokens nearest to it in a space of word vectors.

    Tokens of both languages get vectors made of word vectors, u. An orthogonal map R, learned on the pairs of a
    dictionary, brings those of the source into the target's space. Then `E_t = Σ_s softmax_s(cos(R u_s, u_t) / τ) E_s`
    over the k source tokens with the largest cosines. Nothing is copied but special tokens, by their role (the paper's
    code copies those that are spelled alike, and gives the others vectors of their spelling). Rows of tokens without a
    vector are drawn.

    Args:
        source_vectors: Word vectors of the source language.
        vectors: Word vectors of the target language.
        dictionary: Source words and their translations.
        overlap: Which tokens are copied: one of `OVERLAPS`; the paper copies none.
        weighting, k, temperature, device: How cosines become weights, and where; as `Weighting` takes them.

    Raises:
        InputError: From `transport()`, if no entry has a vector on both sides, or no token of a vocabulary has one.
    """

    citation = paper("minixhofer2022wechsel")

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
        self.label = f"WECHSEL ({weighting})"
        super().__init__(source, tokenizer, overlap=overlap, **options)

    def mixture(self, rows: np.ndarray) -> Mixture:
        """The nearest source tokens in the target's space."""
        map_ = dictionary_map(self._source_vectors, self._target_vectors, self._dictionary.pairs)
        keys = token_vectors("source", self._source_vectors, self.source_tokenizer) @ map_
        queries = token_vectors("target", self._target_vectors, self.tokenizer)
        ids = torch.arange(len(keys))
        return self._weighting.mix(queries[torch.from_numpy(rows)], keys, ids, self.source_vocabulary.size)


def dictionary_map(source: TextVectors, target: TextVectors, dictionary: Sequence[tuple[str, str]]) -> Tensor:
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
            hint="Check that its columns are source and target, in this order, and words spelled as the vectors' are.",
        )
    return procrustes(rows, images)


def _sums_of_cases(vectors: TextVectors, words: Sequence[str]) -> Tensor:
    """`(n, d)`: for each word, the sum of the vectors of the ways to write it."""
    written = [case for word in words for case in (word, word.lower(), word.title())]
    places = {word: place for place, word in enumerate(dict.fromkeys(written))}
    of_words = torch.tensor([places[word] for word in written]).view(len(words), -1)
    return F.embedding_bag(of_words, vectors.of_words(list(places)), mode="sum")
