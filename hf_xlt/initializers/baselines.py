"""The baselines: random rows, resized rows, and mean rows (Hewitt, 2021)."""

import numpy as np
import torch

from hf_xlt.initializers.base import Initializer, OverlapInitializer, paper
from hf_xlt.tokenizers.vocabulary import Vocabulary
from hf_xlt.transport.mixture import FactoredMixture


class RandomInitializer(Initializer):
    """Copy the special tokens by role; draw every other row from N(mean, std) of the source rows."""

    label = "random rows"

    def mixture(self, rows: np.ndarray) -> None:
        """None: all rows are drawn."""


class ResizedInitializer(Initializer):
    """What `resize_token_embeddings` of transformers gives new tokens by default: all of them get one row, the mean.

    transformers draws new rows from `N(μ, 1e-9 Σ)`, μ and Σ the mean and the covariance of the source's rows. The
    standard deviation of that noise is 3e-5 of the rows' own: after rounding to bfloat16 little or nothing is left of
    it. It is left out here, so the rows differ from those of transformers by the noise alone (and, where the source's
    table has rows that are no tokens, by these: they are not counted into the mean). A new token's output bias is the
    mean bias; transformers does the same with an untied head, and takes zero with a tied one.

    Special tokens are copied by role. Other tokens are not, even those that both vocabularies have: a new tokenizer
    numbers them otherwise, and resizing does not look. Where the target tokenizer extends the source's, the source's
    tokens keep their rows.

    Example:
        >>> ResizedInitializer("HuggingFaceTB/SmolLM2-135M", "german-tokenizer").build("resized")  # doctest: +SKIP
    """

    label = "resized rows"
    citation = paper("hewitt2021initializing")

    def mixture(self, rows: np.ndarray) -> FactoredMixture:
        """The mean of all source rows, for each."""
        return mean_rows(self.source_vocabulary, len(rows))


class MeanInitializer(OverlapInitializer):
    """Copy the rows of shared tokens; give all others the mean of the source's rows.

    An output head with such rows gives a new token no more than the average logit, so that the model's distribution
    over the tokens it knows hardly changes. Arguments are those of `OverlapInitializer`.
    """

    label = "mean rows"
    citation = paper("hewitt2021initializing")

    def mixture(self, rows: np.ndarray) -> FactoredMixture:
        """One part of all source rows each."""
        return mean_rows(self.source_vocabulary, len(rows))


def mean_rows(source: Vocabulary, count: int) -> FactoredMixture:
    """So many rows, each the mean of the rows of all source tokens."""
    ids = torch.tensor(sorted(source.names))
    return FactoredMixture(torch.ones(count, 1), torch.ones(len(ids), 1), ids)
