"""Which words occur together: the pairs that a translation table has an entry for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from hf_xlt.evidence.alignment.bitext import Batch, Vocabulary


@dataclass(frozen=True, eq=False)
class WordPairs:
    """The pairs of a source and a target word that occur together; the same in both directions.

    A pair's place in `source` and `target` is its entry in a lexicon; the entry after the last is for pairs never seen
    together, the one after that for padding.

    Attributes:
        source: int64 `(e,)`, source words; pairs ascend by source, then target.
        target: int64 `(e,)`, target words.
        source_size: Number of source words.
        target_size: Number of target words.
    """

    source: Tensor
    target: Tensor
    source_size: int
    target_size: int

    def __len__(self) -> int:
        return len(self.source)

    @classmethod
    def collect(
        cls, batches: Sequence[Batch], source: Vocabulary, target: Vocabulary
    ) -> tuple[WordPairs, list[Tensor]]:
        """All pairs of the batches, and each batch's `cells` as of `find`."""
        width = len(target) + 2
        # A batch at a time: what several batches repeat is never in memory at once.
        found = [_distinct(_keys(batch, width)) for batch in batches]
        every = torch.cat([keys for keys, _ in found]).numpy()
        every.sort()  # in place, which torch.unique does not
        keys = torch.from_numpy(every[np.diff(every, prepend=-1) > 0])
        keys = keys[(keys // width < len(source)) & (keys % width < len(target))]
        pairs = cls(keys // width, keys % width, len(source), len(target))
        cells = []
        while found:  # what is done with makes room for what comes
            keys, places = found.pop()
            cells.append(pairs._entries(keys)[places])
        return pairs, cells[::-1]

    def find(self, batch: Batch) -> Tensor:
        """The entries of a batch's word pairs: int32 `(n, b, m)`, target positions first."""
        keys, places = _distinct(_keys(batch, self.target_size + 2))
        return self._entries(keys)[places]

    @cached_property
    def _known(self) -> Tensor:
        return self.source * (self.target_size + 2) + self.target

    def _entries(self, keys: Tensor) -> Tensor:
        places = torch.searchsorted(self._known, keys).clamp_(max=len(self) - 1)
        places[self._known[places] != keys] = len(self)
        width = self.target_size + 2
        padding = (keys // width == self.source_size + 1) | (keys % width == self.target_size + 1)
        return places.masked_fill_(padding, len(self) + 1).int()


def _keys(batch: Batch, width: int) -> Tensor:
    """One int64 a cell `(n, b, m)`: source word · width + target word."""
    return batch.sources * width + batch.targets.T[:, :, None]


def _distinct(keys: Tensor) -> tuple[Tensor, Tensor]:
    """The different keys, ascending, and int32 where each key is among them."""
    different, places = torch.unique(keys, return_inverse=True)
    return different, places.int()
