"""The order in which packed sequences are trained on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from torch.utils.data import Dataset as TorchDataset


class Stream(TorchDataset, ABC):
    """Examples in the order in which they are trained on, addressed by their position in training."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitems__(self, positions: list[int]) -> list[dict[str, Any]]:
        """The examples of a batch, read at once (torch's `DataLoader` calls this where it exists)."""

    def __getitem__(self, position: int) -> dict[str, Any]:
        return self.__getitems__([position])[0]


class ShuffledStream(Stream):
    """Packed sequences, repeated in a new order every epoch, addressed by their position in training.

    The example at a position depends on nothing but the seed and that position, so a resumed run, whatever its
    batch or process layout, sees exactly what an uninterrupted one would have seen. `length` is the number of
    positions: steps × batch size; the seed decides order and, through `key`, masking.
    """

    def __init__(self, packed: Dataset, length: int, seed: int) -> None:
        self.packed = packed
        self.length = length
        self.seed = seed
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return self.length

    def __getitems__(self, positions: list[int]) -> list[dict[str, Any]]:
        columns = self.packed[[self._row(position) for position in positions]]
        rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
        return [row | {"key": (self.seed, position)} for row, position in zip(rows, positions, strict=True)]

    def _row(self, position: int) -> int:
        if not 0 <= position < self.length:
            raise IndexError(position)
        epoch, offset = divmod(position, len(self.packed))
        if epoch != self._epoch:
            self._order = np.random.default_rng((self.seed, epoch)).permutation(len(self.packed))
            self._epoch = epoch
        return int(self._order[offset])


class AlternatingStream(Stream):
    """Several streams of equal length in turn, an example of each: languages side by side in every batch."""

    def __init__(self, streams: Sequence[ShuffledStream]) -> None:
        self.streams = tuple(streams)

    def __len__(self) -> int:
        return sum(len(stream) for stream in self.streams)

    def __getitems__(self, positions: list[int]) -> list[dict[str, Any]]:
        turns = len(self.streams)
        return [self.streams[position % turns][position // turns] for position in positions]
