"""Mean rows: every token that the source lacks starts as the average token (Hewitt, 2021)."""

from __future__ import annotations

import torch

from hf_xlt.initializers.overlap import OverlapInitializer
from hf_xlt.transport.mixture import FactoredMixture

CITATION = """\
@misc{hewitt2021initializing,
  title = {Initializing New Word Embeddings for Pretrained Language Models},
  author = {Hewitt, John},
  year = {2021},
}"""


class MeanInitializer(OverlapInitializer):
    """Copy the rows of shared tokens; give all others the mean of the source's rows.

    An output head with such rows gives a new token no more than the average logit, so that the model's distribution
    over the tokens it knows hardly changes.

    Args:
        source: The source checkpoint: a Hub id, a folder, or an open `Checkpoint`.
        tokenizer: The target tokenizer.
        overlap: Which tokens are copied: one of `OVERLAPS`.
        **options: As `Initializer` takes them: `pad_to_multiple_of`, `seed`, `trust_remote_code`.

    Raises:
        InputError: If the source cannot be opened, no token is shared, or the overlap is unknown.
    """

    method = "mean"
    citation = CITATION

    @property
    def label(self) -> str:
        """`mean rows`."""
        return "mean rows"

    def _mixture(self) -> FactoredMixture:
        ids = torch.tensor(sorted(self.source_vocabulary.names))
        return FactoredMixture(torch.ones(len(self._overlap.missing_ids), 1), torch.ones(len(ids), 1), ids)
