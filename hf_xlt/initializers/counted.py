"""What the initializers have in common whose evidence is counts of target tokens with source tokens."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from hf_xlt.errors import InputError
from hf_xlt.evidence.counts import TokenCounts
from hf_xlt.initializers.base import Initializer
from hf_xlt.initializers.overlap import shared_tokens
from hf_xlt.tokenizers.vocabulary import Vocabulary, match
from hf_xlt.transport import Transport
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

    @cached_property
    def _counts(self) -> TokenCounts:
        return TokenCounts.total(self.evidence().values(), self.shape)

    def counts(self) -> TokenCounts:
        """All evidence in one table; computed once."""
        return self._counts

    def _mixture(self, rows: np.ndarray) -> SparseMixture:
        return self.counts().mixture(rows)

    def observations(self) -> Mapping[str, TokenCounts]:
        """What was seen of each kind of evidence, before any weighing: links, entries of a dictionary, similarities."""
        return self.evidence()

    def _evidence_behind(self, rows: np.ndarray, mixture: Mixture | None) -> Mapping[str, Tensor]:
        if not isinstance(mixture, SparseMixture):
            return {}
        pairs = rows.repeat(mixture.crow.diff().numpy()), mixture.col.numpy()
        return {kind: torch.from_numpy(table.at(*pairs)).float() for kind, table in self.observations().items()}

    @cached_property
    def _transport(self) -> Transport:
        overlap = shared_tokens(self.source_vocabulary, self.target_vocabulary, "none")
        return self._make_transport(overlap, self._mixture(overlap.missing_ids))

    def transport(self) -> Transport:
        """Copied special rows, mixed rows, and drawn ones where there is no evidence."""
        return self._transport


def overlap_counts(source: Vocabulary, target: Vocabulary) -> TokenCounts:
    """One count for each target token with the source token of the same text, in whatever case; perhaps none at all."""
    shape = target.size, source.size
    try:
        shared = match(source, target, ignore_case=True)
    except InputError:  # vocabularies without a common token are no evidence, and no fault where there is other
        return TokenCounts.empty(shape)
    return TokenCounts.of_pairs(shared.target_ids, shared.source_ids, shape)
