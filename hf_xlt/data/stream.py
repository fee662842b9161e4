"""The order in which packed sequences are trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
from datasets import Dataset
from torch.utils.data import Dataset as TorchDataset


class ShuffledStream(TorchDataset):
    """Packed sequences, repeated in a new order every epoch, addressed by their position in training.

    The example at a position depends on nothing but the seed and that position, so a resumed run, whatever its
    batch or process layout, sees exactly what an uninterrupted one would have seen.

    Args:
        packed: Dataset with a column `input_ids`.
        length: Number of positions: steps × batch size.
        seed: Decides order and, through `position`, masking.
    """

    def __init__(self, packed: Dataset, length: int, seed: int) -> None:
        self.packed = packed
        self.length = length
        self.seed = seed
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, position: int) -> dict[str, Any]:
        epoch, offset = divmod(position, len(self.packed))
        if epoch != self._epoch:
            self._order = np.random.default_rng((self.seed, epoch)).permutation(len(self.packed))
            self._epoch = epoch
        row = self.packed[int(self._order[offset])]
        return {"input_ids": row["input_ids"], "key": (self.seed, position)}
