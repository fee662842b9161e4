"""The baselines: random rows, and mean rows (Hewitt, 2021)."""

from __future__ import annotations

import numpy as np
import torch

from hf_xlt.initializers.base import Initializer, OverlapInitializer, paper
from hf_xlt.transport.mixture import FactoredMixture


class RandomInitializer(Initializer):
    """Copy the special tokens by role; draw every other row from N(mean, std) of the source rows."""

    label = "random rows"

    def mixture(self, rows: np.ndarray) -> None:
        """None: all rows are drawn."""


class MeanInitializer(OverlapInitializer):
    """Copy the rows of shared tokens; give all others the mean of the source's rows.

    An output head with such rows gives a new token no more than the average logit, so that the model's distribution
    over the tokens it knows hardly changes. Arguments are those of `OverlapInitializer`.
    """

    label = "mean rows"
    citation = paper("hewitt2021initializing")

    def mixture(self, rows: np.ndarray) -> FactoredMixture:
        """One part of all source rows each."""
        ids = torch.tensor(sorted(self.source_vocabulary.names))
        return FactoredMixture(torch.ones(len(rows), 1), torch.ones(len(ids), 1), ids)
