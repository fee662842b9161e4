"""Random rows: the baseline that keeps the source's body and nothing of its words."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from hf_xlt.initializers.base import Initializer
from hf_xlt.tokenizers.vocabulary import Overlap, kept_pairs
from hf_xlt.transport import Transport


class RandomInitializer(Initializer):
    """Copy the special tokens by role; draw every other row from N(mean, std) of the source rows."""

    method = "random"

    @property
    def label(self) -> str:
        """`random rows`."""
        return "random rows"

    @cached_property
    def _transport(self) -> Transport:
        pairs = kept_pairs(self.source_vocabulary, self.target_vocabulary)
        target_ids = np.array(sorted(pairs), dtype=np.int64)
        source_ids = np.array([pairs[i] for i in target_ids.tolist()], dtype=np.int64)
        nothing = np.empty(0, dtype=np.int64)
        return self._make_transport(Overlap(source_ids, target_ids, nothing, self.target_size), None)

    def transport(self) -> Transport:
        """Copied special rows, drawn ordinary ones."""
        return self._transport
