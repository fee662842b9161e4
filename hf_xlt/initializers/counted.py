"""Initializers whose evidence is counts of target tokens with source tokens; the simplest is of a dictionary alone."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_xlt.errors import InputError
from hf_xlt.evidence.counting import dictionary_counts
from hf_xlt.evidence.counts import TokenCounts
from hf_xlt.evidence.translations import Dictionary, read_dictionary
from hf_xlt.initializers.base import Initializer, once
from hf_xlt.initializers.evidence import AnyTokenizer, Model, Places
from hf_xlt.initializers.false_friends import TRANSLATIONS, false_friends
from hf_xlt.tokenizers.vocabulary import Overlap, Vocabulary, match
from hf_xlt.transport import FalseFriends
from hf_xlt.transport.mixture import Mixture, SparseMixture


class CountedInitializer(Initializer):
    """Special tokens copied by role; every other row the mean of source rows, weighted by counts, where it has any.

    A subclass says which tables of counts there are: they add up, and relative frequencies of the sum,
    `P(s | t) = count(t, s) / Σ count(t, ·)`, are the weights. Rows without a count are drawn.
    """

    @abstractmethod
    def evidence(self) -> Mapping[str, TokenCounts]:
        """The tables of counts by the kind of evidence, as they are added; computed once."""

    @property
    def shape(self) -> tuple[int, int]:
        """Target and source ids in use: the shape of all counts."""
        return self.target_vocabulary.size, self.source_vocabulary.size

    @once
    def counts(self) -> TokenCounts:
        """All evidence in one table; computed once."""
        return TokenCounts.total(self.evidence().values(), self.shape)

    def mixture(self, rows: np.ndarray) -> SparseMixture:
        """Relative frequencies of the counts."""
        return self.counts().mixture(rows)

    def observations(self) -> Mapping[str, TokenCounts]:
        """What was seen of each kind of evidence, before any weighing: links, entries of a dictionary, similarities."""
        return self.evidence()

    @once
    def false_friends(self) -> TokenCounts:
        """What translations say of the source's tokens that mean something else in the target language; computed once.

        There are none where the target does not extend the source. See `hf_xlt.initializers.false_friends`.
        """
        return self._false_friends_in(self.evidence())

    def _false_friends_in(self, evidence: Mapping[str, TokenCounts]) -> TokenCounts:
        if not self.target_vocabulary.extends(self.source_vocabulary):
            return TokenCounts.empty(self.shape)
        said = TokenCounts.total([evidence[kind] for kind in TRANSLATIONS if kind in evidence], self.shape)
        return false_friends(said, self.target_vocabulary)

    def _false_friends_of(self, overlap: Overlap) -> FalseFriends | None:
        told = any(kind in self.evidence() for kind in TRANSLATIONS)
        if not told or not self.target_vocabulary.extends(self.source_vocabulary):
            return None
        found = self.false_friends().among(overlap.target_ids)
        return FalseFriends(
            torch.from_numpy(found.target_ids),
            torch.from_numpy(found.source_ids),
            torch.from_numpy(found.values).float(),
        )

    def _evidence_behind(self, rows: np.ndarray, mixture: Mixture | None) -> Mapping[str, Tensor]:
        if not isinstance(mixture, SparseMixture):
            return {}
        pairs = rows.repeat(mixture.crow.diff().numpy()), mixture.col.numpy()
        return {kind: torch.from_numpy(table.at(*pairs)).float() for kind, table in self.observations().items()}


class DictionaryInitializer(CountedInitializer):
    """Mix the source tokens of a token's translations; copy the token where it has none and the source shares it.

    The `dictionary` has source and target words; InputError is raised if none of its entries is spelled in known
    tokens. Everything else is as `Initializer` takes it.
    """

    label = "dictionary"

    def __init__(
        self, source: Model, tokenizer: AnyTokenizer, *, dictionary: Places | Dictionary, **options: Any
    ) -> None:
        self.dictionary = read_dictionary(dictionary)
        super().__init__(source, tokenizer, **options)
        self._entries = dictionary_counts(self.dictionary, self.source_tokenizer, self.tokenizer)

    @once
    def evidence(self) -> dict[str, TokenCounts]:
        """The dictionary's counts, and the overlap where there are none."""
        shared = overlap_counts(self.source_vocabulary, self.target_vocabulary)
        left = ~np.isin(shared.target_ids, self._entries.rows)
        fallback = TokenCounts.of_pairs(shared.target_ids[left], shared.source_ids[left], self.shape)
        return {"dictionary": self._entries, "overlap": fallback}


def overlap_counts(source: Vocabulary, target: Vocabulary) -> TokenCounts:
    """One count for each target token with the source token of the same text, in whatever case; perhaps none at all."""
    shape = target.size, source.size
    try:
        shared = match(source, target, ignore_case=True)
    except InputError:  # vocabularies without a common token are no evidence, and no fault where there is other
        return TokenCounts.empty(shape)
    return TokenCounts.of_pairs(shared.target_ids, shared.source_ids, shape)
