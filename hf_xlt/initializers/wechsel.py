"""WECHSEL: every row mixed from the source tokens nearest to it, in word vectors aligned by a dictionary.

Minixhofer, Paischer & Rekabsaz 2022, "WECHSEL: Effective initialization of subword embeddings for cross-lingual
transfer of monolingual language models", arXiv:2112.06598, §3.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import require_device
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError
from hf_xlt.evidence.vectors.subword import TextVectors
from hf_xlt.geometry.procrustes import procrustes
from hf_xlt.geometry.weighting import Weighting
from hf_xlt.initializers.missing import missing_evidence
from hf_xlt.initializers.overlap import OverlapInitializer
from hf_xlt.initializers.subwords import some_tokens
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
        source: The source checkpoint: a Hub id, a folder, or an open `Checkpoint`.
        tokenizer: The target tokenizer.
        source_vectors: Word vectors of the source language.
        target_vectors: Word vectors of the target language.
        dictionary: Source words and their translations.
        overlap: Which tokens are copied: one of `OVERLAPS`; the paper copies none.
        weighting: How cosines become weights: one of `WEIGHTINGS`; see `Weighting`.
        k: Number of tokens in a row, for `top-k`.
        temperature: What cosines are divided by, for `top-k`: τ.
        device: Where similarities are computed, such as `cuda`.
        **options: As `Initializer` takes them: `pad_to_multiple_of`, `seed`, `trust_remote_code`.

    Raises:
        InputError: If vectors or dictionary are missing, the dictionary is empty or an entry is one-sided, the source
            cannot be opened, or the overlap or the weighting is unknown. From `transport()`, if no entry has a vector
            on both sides, or no token of a vocabulary has one.
    """

    method = "wechsel"
    citation = CITATION

    def __init__(
        self,
        source: str | Path | Checkpoint,
        tokenizer: PreTrainedTokenizerBase,
        *,
        source_vectors: TextVectors | None = None,
        target_vectors: TextVectors | None = None,
        dictionary: WordPairs | None = None,
        overlap: str = "none",
        weighting: str = "top-k",
        k: int = 10,
        temperature: float = 0.1,
        device: str = "cpu",
        **options: Any,
    ) -> None:
        if source_vectors is None:
            raise missing_evidence("wechsel", "word vectors of the source language", "--source-vectors")
        if target_vectors is None:
            raise missing_evidence("wechsel", "word vectors of the target language", "--vectors")
        if dictionary is None:
            raise missing_evidence("wechsel", "a dictionary", "--dictionary")
        _check_dictionary(dictionary)
        self._source_vectors = source_vectors
        self._target_vectors = target_vectors
        self._dictionary = dictionary
        self._weighting = Weighting(weighting, k, temperature)
        require_device("device", device)
        self.device = device
        super().__init__(source, tokenizer, overlap=overlap, **options)

    @property
    def label(self) -> str:
        """`WECHSEL (top-k)` and so on."""
        return f"WECHSEL ({self._weighting.name})"

    def _mixture(self) -> Mixture:
        map_ = dictionary_map(self._source_vectors, self._target_vectors, self._dictionary)
        keys = some_tokens("source", self._source_vectors, self.source_tokenizer) @ map_
        queries = some_tokens("target", self._target_vectors, self.tokenizer)
        queries = queries[torch.from_numpy(self._overlap.missing_ids)]
        ids = torch.arange(len(keys))
        return self._weighting.mix(queries.to(self.device), keys.to(self.device), ids, self.source_vocabulary.size)


def dictionary_map(source: TextVectors, target: TextVectors, dictionary: WordPairs) -> Tensor:
    """The orthogonal map `(k, d)` from source to target vectors that fits a dictionary best.

    As in the paper's code, vectors are neither scaled nor centred, and an entry counts in each pair of ways to write
    its words (as they are, in lower case, in title case) that both languages have vectors for: up to nine times.

    Raises:
        InputError: If no entry has a vector on both sides.
    """
    words, translations = zip(*dictionary, strict=True)
    # The products of all pairs of an entry add up to one product: of the sums of its two sides.
    rows, images = _sums_of_cases(source, words), _sums_of_cases(target, translations)
    if not (rows.any(dim=1) & images.any(dim=1)).any():
        raise InputError(
            f"None of the {len(dictionary)} dictionary entries has a vector on both sides; expected some: check that "
            "its columns are source and target, in this order, and that words are spelled as the vectors' are."
        )
    return procrustes(rows, images)


def _sums_of_cases(vectors: TextVectors, words: Sequence[str]) -> Tensor:
    """`(n, d)`: for each word, the sum of the vectors of the ways to write it."""
    written = [case for word in words for case in (word, word.lower(), word.title())]
    places = {word: place for place, word in enumerate(dict.fromkeys(written))}
    of_words = torch.tensor([places[word] for word in written]).view(len(words), -1)
    return F.embedding_bag(of_words, vectors.of_words(list(places)), mode="sum")


def _check_dictionary(dictionary: WordPairs) -> None:
    if not dictionary:
        raise InputError("The dictionary is empty; expected at least one word and its translation.")
    one_sided = [entry for entry in dictionary if len(entry) != 2 or not all(side.strip() for side in entry)]
    if one_sided:
        raise InputError(f"The dictionary entry {one_sided[0]} is one-sided; expected a word and its translation.")
